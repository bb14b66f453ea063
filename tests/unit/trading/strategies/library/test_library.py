"""What holds for every library strategy: it builds, it runs, it does not look ahead, its state can be rebuilt."""

from collections.abc import Callable

import pytest

from app.engine.bars import Bars
from app.engine.columns import Setting
from app.engine.instruments import Instrument
from app.engine.layout import WEIGHT
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime
from app.engine.schedule import schedule_named
from app.engine.simulation import Result, backtest
from app.kernel.errors import DomainError
from app.kernel.plugins import discover
from app.trading.strategies.library._plugin import LibraryStrategy, Parameters

LIBRARY: dict[str, LibraryStrategy[Parameters]] = discover("app.trading.strategies.library")
Walks = Callable[..., Bars]
Shares = Callable[[int], list[Instrument]]
every = pytest.mark.parametrize("strategy", LIBRARY.values(), ids=LIBRARY.keys())


def bars_for(strategy: LibraryStrategy[Parameters], walks: Walks, rows: int, seed: int, slots: int = 4) -> Bars:
    """As many instruments as it takes, with bars within the day where it needs them."""
    return walks(rows, min(slots, strategy.most or slots), seed, 75 if strategy.intraday else 1)


def cut(bars: Bars, start: int, end: int) -> Bars:
    fields, valid = bars.fields[:, :, start:end].copy(), bars.valid[:, start:end].copy()
    return Bars(bars.times[start:end], bars.days[start:end], fields, valid)


def run(strategy: LibraryStrategy[Parameters], bars: Bars, shares: Shares, block: int = 4096) -> Result:
    program = compile_program(strategy.build(strategy.parse({}), bars.slots))
    return backtest(
        program,
        bars,
        instruments=shares(bars.slots),
        cash=100_000_00,
        schedule=schedule_named("us_equity"),
        block=block,
    )


def test_both_first_strategies_are_in_the_library() -> None:
    assert {"momentum", "mean_reversion"} <= set(LIBRARY)


@every
def test_it_cites_its_source_and_documents_every_parameter(strategy: LibraryStrategy[Parameters]) -> None:
    assert "(19" in strategy.reference or "(20" in strategy.reference
    properties = strategy.parameters.model_json_schema()["properties"]
    assert properties
    for name, shape in properties.items():
        assert shape.get("description"), name
        assert "default" in shape, name
        assert {"minimum", "exclusiveMinimum"} & set(shape), name
        assert {"maximum", "exclusiveMaximum"} & set(shape), name


@every
def test_it_trades_and_stays_within_its_cash(
    strategy: LibraryStrategy[Parameters], walks: Walks, shares: Shares
) -> None:
    bars = bars_for(strategy, walks, 1500, 1)
    result = run(strategy, bars, shares)
    assert {fill.slot for fill in result.fill_records()} == set(range(bars.slots))
    if not compile_program(strategy.build(strategy.parse({}), bars.slots)).settings[Setting.SHORT]:
        assert all(fill.cash_after >= 0 for fill in result.fill_records())
        assert all(position.quantity >= 0 for position in result.positions)


@every
def test_blocks_do_not_matter(strategy: LibraryStrategy[Parameters], walks: Walks, shares: Shares) -> None:
    bars = bars_for(strategy, walks, 1200, 2)
    assert len({run(strategy, bars, shares, block).sha256() for block in (1200, 4096, 7, 1)}) == 1


@every
def test_the_past_does_not_depend_on_the_future(
    strategy: LibraryStrategy[Parameters], walks: Walks, shares: Shares
) -> None:
    bars = bars_for(strategy, walks, 900, 3)
    whole = run(strategy, bars, shares)
    for end in (300, 611, 899):
        part = run(strategy, cut(bars, 0, end), shares)
        assert part.equity.tolist() == whole.equity[:end].tolist()
        assert part.fills.tolist() == whole.fills[whole.fills[:, 0] < end].tolist()


@every
def test_whole_stepwise_and_rebuilt_states_agree(
    strategy: LibraryStrategy[Parameters], walks: Walks, shares: Shares
) -> None:
    bars = bars_for(strategy, walks, 700, 4)
    program = compile_program(strategy.build(strategy.parse({}), bars.slots))
    whole, single, rebuilt = (ProgramRuntime(program, shares(bars.slots)) for _ in range(3))
    last = whole.warm_up(bars)
    rebuilt.warm_up(cut(bars, 0, 431))
    for runtime, start in ((single, 0), (rebuilt, 431)):
        for row in range(start, 700):
            rows = [tuple(int(v) for v in bars.fields[:, slot, row]) for slot in range(bars.slots)]
            said = runtime.on_bar(int(bars.days[row]), rows)
        assert said == last
        assert runtime.state() == whole.state()


@every
def test_weights_share_the_equity(strategy: LibraryStrategy[Parameters], walks: Walks, shares: Shares) -> None:
    bars = bars_for(strategy, walks, 800, 5, slots=5)
    program = compile_program(strategy.build(strategy.parse({}), bars.slots))
    weights = ProgramRuntime(program, shares(bars.slots)).warm_up(bars).weights
    assert program.settings[Setting.SHORT] or min(weights) >= 0
    assert sum(abs(weight) for weight in weights) <= WEIGHT


def test_a_wrong_number_of_instruments_is_refused() -> None:
    pairs = LIBRARY["pairs"]
    for count in (0, 1, 3):
        with pytest.raises(DomainError, match="takes 2 to 2 instruments") as error:
            pairs.build(pairs.parse({}), count)
        assert error.value.param == "instruments"
