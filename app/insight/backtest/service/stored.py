"""Runs a plan on stored bars: raw prices, splits and dividends as the engine's events. No database, no clock."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from app.engine.bars import AnyEvent, Bars, Dividend, Split, align
from app.engine.fills import SlippageModel
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.schedule import schedule_named
from app.insight.backtest.domain import MAX_FILLS, Action, Listed, Plan, Source
from app.insight.backtest.service.contradiction import explain
from app.insight.backtest.service.prepared import Prepared, cut, first_row
from app.kernel.errors import DomainError
from app.market.data.domain import to_us
from app.market.data.service import read_series

_DAY_US = 86_400_000_000


def run_plan(plan: Plan, data_dir: Path, on_block: Callable[[int], None] | None = None) -> dict[str, Any]:
    """The result document. Blocking. `on_block` is told the rows done; what it raises ends the run.

    Raises `bars_corrupt`, `invalid_bars`, `too_many_orders`, `too_many_fills` and what else
    `app.engine.simulation.backtest` raises.
    """
    made = prepare(plan, data_dir)
    try:
        return made.document(on_block, most_fills=MAX_FILLS)
    except DomainError as error:
        if made.finer is None or (error.code, error.param) != ("invalid_bars", "finer"):
            raise
        raise explain(error, plan, made.bars, made.finer) from None


def prepare(plan: Plan, data_dir: Path) -> Prepared:
    """The plan with its bars read. Blocking."""
    bars = cut(align([_columns(one, data_dir) for one in plan.listed]), plan.end)
    files = zip(plan.listed, plan.finer, strict=bool(plan.finer))
    finer = [replace(one, path=file.path, sha256=file.sha256) for one, file in files]
    return Prepared(
        program=compile_program(plan.program, plan.parameters),
        bars=bars,
        instruments=[
            Instrument(
                one.instrument_id, one.currency, one.price_exp, one.qty_exp, tick=one.tick, lot=one.lot,
                product=plan.product,
            )
            for one in plan.listed
        ],
        sources=_sources(plan, bars),
        cash=plan.cash,
        schedule=schedule_named(plan.charges),
        slippage=SlippageModel(plan.slippage_bps),
        terms=plan.terms,
        first_row=first_row(bars, plan.start),
        events=_events(plan, bars),
        finer=cut(align([_columns(one, data_dir) for one in finer]), plan.end) if finer else None,
        finer_sources=[Source(one.symbol, _name(one), one.sha256) for one in finer],
    )  # fmt: skip


def _name(one: Listed) -> str:
    return PurePosixPath(one.path).name


def _columns(one: Listed, data_dir: Path) -> dict[str, Any]:
    """As `align` takes them. The trading date of a bar is the UTC date of its close, at every venue we know."""
    found = read_series(data_dir, one.path, sha256=one.sha256, price_exp=one.price_exp, qty_exp=one.qty_exp)
    columns = {name: getattr(found, name) for name in ("open", "high", "low", "close", "volume")}
    return {"times": found.at_us, "days": found.at_us // _DAY_US, **columns}


def _row(bars: Bars, at: datetime) -> int:
    """The first bar that closes at or after `at`; the number of rows when there is none."""
    return int(np.searchsorted(bars.times, to_us(at)))


def _applied(one: Listed, bars: Bars) -> list[tuple[int, Action]]:
    """The actions within the bars, each with its row: before the first bar there is nothing to restate."""
    found = [(_row(bars, action.effective_at), action) for action in one.actions]
    return [(row, action) for row, action in found if 0 < row < bars.rows]


def _events(plan: Plan, bars: Bars) -> list[AnyEvent]:
    events: list[AnyEvent] = []
    for slot, one in enumerate(plan.listed):
        for row, action in _applied(one, bars):
            if action.kind == "split":
                events.append(Split(row, slot, action.numerator or 1, action.denominator or 1))
            else:
                events.append(Dividend(row, slot, action.amount or 0))
    return events


def _sources(plan: Plan, bars: Bars) -> list[Source]:
    symbols = [one.symbol for one in plan.listed]
    return [
        Source(
            symbol=symbol,
            file=_name(one),
            sha256=one.sha256,
            actions=tuple(action.text(one.price_exp) for _, action in _applied(one, bars)),
        )
        for symbol, one in zip(symbols, plan.listed, strict=True)
    ]
