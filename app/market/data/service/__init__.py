"""What other slices call: bars by series, bars of a file, imports, the replay feed, its state, and the seed."""

from app.market.data.service.bars import BarPage, Series, find_series, list_bars, load_bars, read_series, read_times
from app.market.data.service.files import read_bars
from app.market.data.service.importing import ImportReport, import_bars
from app.market.data.service.quotes import QuoteBoard
from app.market.data.service.replay import market_time, read_feed_state, run_replay, stream_key
from app.market.data.service.seeding import seed_reference

__all__ = [
    "BarPage",
    "ImportReport",
    "QuoteBoard",
    "Series",
    "find_series",
    "import_bars",
    "list_bars",
    "load_bars",
    "market_time",
    "read_bars",
    "read_feed_state",
    "read_series",
    "read_times",
    "run_replay",
    "seed_reference",
    "stream_key",
]
