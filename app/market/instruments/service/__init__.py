"""What other slices call: instruments by id or symbol, their rules at a time, sessions, splits, and the seed."""

from app.market.instruments.service.bands import BandReport, import_bands
from app.market.instruments.service.lookup import (
    InstrumentView,
    corporate_actions,
    find_instrument,
    get_instrument,
    list_instruments,
    papers_of,
    rules_at,
    scale_of,
    scales_of,
    sessions_of_days,
    splits_of,
    trading_days,
    trading_sessions,
)
from app.market.instruments.service.seeding import load_calendar, load_instruments, seed_instruments

__all__ = [
    "BandReport",
    "InstrumentView",
    "corporate_actions",
    "find_instrument",
    "get_instrument",
    "import_bands",
    "list_instruments",
    "load_calendar",
    "load_instruments",
    "papers_of",
    "rules_at",
    "scale_of",
    "scales_of",
    "seed_instruments",
    "sessions_of_days",
    "splits_of",
    "trading_days",
    "trading_sessions",
]
