"""Runs many parameter sets of one program on the same bars. The one place that knows how the engine does it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.engine.bars import AnyEvent, Bars, Int64, SessionClose
from app.engine.fills import NO_SLIPPAGE, SlippageModel
from app.engine.instruments import Instrument
from app.engine.program import Number, compile_program
from app.engine.schedule import Schedule
from app.engine.simulation import backtest
from app.engine.terms import CASH_ACCOUNT, Terms


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One parameter set's run. `equity` i8 (rows,): minor units at each close; `fills`: their count; `charges`: all."""

    parameters: Mapping[str, Number]
    digest: str
    equity: Int64
    cash: int
    fills: int
    charges: int


def trials(
    document: Mapping[str, Any],
    sets: Sequence[Mapping[str, Number]],
    bars: Bars,
    *,
    instruments: Sequence[Instrument],
    cash: int,
    schedule: Schedule,
    slippage: SlippageModel = NO_SLIPPAGE,
    terms: Terms = CASH_ACCOUNT,
    events: Iterable[AnyEvent] = (),
    sessions: Iterable[SessionClose] | None = None,
    trade_from: int = 0,
) -> Iterator[Trial]:
    """A trial for each of `sets`, in order: what `backtest` gives for each. Raises what it raises."""
    held = None if sessions is None else list(sessions)
    happened = list(events)
    for parameters in sets:
        program = compile_program(document, parameters)
        result = backtest(
            program, bars, instruments=instruments, cash=cash, schedule=schedule, slippage=slippage, terms=terms,
            events=happened, sessions=held, trade_from=trade_from,
        )  # fmt: skip
        charges = sum(result.charges.values())
        yield Trial(parameters, program.digest, result.equity, result.cash, len(result.fills), charges)
