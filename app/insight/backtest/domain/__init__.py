"""Decides what a backtest's result says: one document of plain values. Pure: the same run gives the same bytes.

A stored backtest is a `Plan`: everything it depends on, as it was when it was asked for. The curve is that of trading
dates: the equity after the last bar of each. Metrics are of it, so their returns are daily whatever the bars are.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any
from uuid import UUID

import numpy as np
from pydantic import TypeAdapter

from app.engine.bars import EPOCH, Bars
from app.engine.instruments import Instrument
from app.engine.layout import ENGINE_VERSION
from app.engine.program import Program
from app.engine.simulation import Result, SimulatedFill
from app.engine.terms import CASH_ACCOUNT, Terms
from app.kernel.money import currency_exponent, format_scaled
from app.kernel.orders import Product
from app.kernel.times import format_time
from app.market.data.domain import from_us
from app.quant.performance import Metric, performance
from app.quant.trips import Execution, RoundTrip, profit_factor, round_trips, win_rate

PERIODS_PER_YEAR = 252


MAX_UNFINISHED = 20
"""Backtests that a tenant may have waiting or running at once."""

MAX_CELLS = 5_000_000
"""Bars × instruments of a stored backtest, finer bars among them: a worker holds about 100 bytes of each in memory."""

MAX_COST = 20_000_000_000
"""Node evaluations of a stored backtest: a minute or two of one core."""


MAX_FILLS = 250_000
"""Fills of a stored backtest: its document has a few hundred bytes for each."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A backtest as its caller asks for it: one of `strategy_id`, `template` and `program`.

    `parameters` are the template's, or replace the program's own. Trading dates before `start` only warm it up.
    `finer_interval`: of the finer bars that terms whose `intrabar` is LOWER need.
    """

    instruments: tuple[UUID, ...]
    cash: str
    name: str | None = None
    strategy_id: UUID | None = None
    template: str | None = None
    program: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None
    interval: str = "1d"
    start: date | None = None
    end: date | None = None
    charges: str = "zero"
    product: Product = Product.DELIVERY
    slippage_bps: int = 0
    terms: Terms = CASH_ACCOUNT
    finer_interval: str | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """A split (`numerator` new for `denominator` old) or a dividend (`amount` a unit, at `price_exp`)."""

    kind: str
    ex_date: date
    effective_at: datetime
    numerator: int | None = None
    denominator: int | None = None
    amount: int | None = None

    def text(self, price_exp: int) -> str:
        terms = f"{self.numerator}:{self.denominator}" if self.kind == "split" else _scaled(self.amount, price_exp)
        return f"{self.ex_date} {self.kind} {terms}"


@dataclass(frozen=True, slots=True)
class Listed:
    """One instrument of a plan: its scales, the tick and lot in force at the plan's last bar, its file of bars."""

    instrument_id: UUID
    symbol: str
    currency: str
    price_exp: int
    qty_exp: int
    tick: int
    lot: int
    path: str
    sha256: str
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class FinerFile:
    """The file of an instrument's finer bars, at the scales of its bars."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stored backtest runs. Files are immutable and everything else is here, so a rerun is the same run.

    `finer`: one for each of `listed`, or none.
    """

    program: dict[str, Any]
    parameters: dict[str, int | float]
    listed: tuple[Listed, ...]
    interval: str
    start: date | None
    end: date | None
    cash: int
    charges: str
    product: Product
    slippage_bps: int
    terms: Terms
    finer_interval: str | None = None
    finer: tuple[FinerFile, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a `jsonb` column."""
        found: dict[str, Any] = _PLAN.dump_python(self, mode="json")
        return found

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Plan":
        return _PLAN.validate_python(values)


_PLAN = TypeAdapter(Plan)


@dataclass(frozen=True, slots=True)
class Source:
    """Where one instrument's bars came from: `sha256` of the file, and the corporate actions applied, as text."""

    symbol: str
    file: str
    sha256: str
    actions: tuple[str, ...] = ()


def canonical(document: dict[str, Any]) -> bytes:
    """The document as it is stored, hashed and sent."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def summary_of(document: dict[str, Any]) -> dict[str, Any]:
    """The figures one looks at first."""
    orders = document["orders"]
    return {
        "final_equity": document["final_equity"],
        "charges": document["charges"]["total"],
        "fills": len(document["fills"]),
        "orders": orders,
        "metrics": document["metrics"],
        "manifest_sha256": document["data"]["manifest_sha256"],
    }


def result_document(
    program: Program,
    bars: Bars,
    result: Result,
    *,
    instruments: Sequence[Instrument],
    sources: Sequence[Source],
    first_row: int = 0,
    finer: Sequence[Source] = (),
) -> dict[str, Any]:
    """Everything a reader needs to judge the run and to repeat it. Money and prices are decimal strings.

    `first_row`: the first that could decide; the curve begins with it. `finer`: what its finer bars were read from.
    """
    currency = instruments[0].currency
    fills = result.fill_records()
    trips = _trips(bars, fills, len(instruments))
    return {
        "program": {
            "name": program.name,
            "digest": program.digest,
            "parameters": dict(program.parameters),
            "engine": ENGINE_VERSION,
        },
        "data": data_section(bars, sources, instruments, first_row, finer),
        "seed": None,  # nothing in the engine is random
        "currency": currency,
        "initial_cash": _money(result.initial_cash, currency),
        "final_cash": _money(result.cash, currency),
        "final_equity": _money(int(result.equity[-1]), currency),
        **_judged(bars, result, trips, first_row),
        **_carried_out(result, fills, currency),
        "charges": {name: _money(minor, currency) for name, minor in result.charges.items()}
        | {"total": _money(sum(result.charges.values()), currency)},
        "positions": [
            {
                "symbol": source.symbol,
                "quantity": format_scaled(position.quantity, one.qty_exp),
                "cost": _money(position.cost, currency),
                "realised": _money(position.realised, currency),
            }
            for source, one, position in zip(sources, instruments, result.positions, strict=True)
        ],
        "equity": _curve(bars, result, currency, first_row),
        "fills": [_fill(bars, fill, instruments[fill.slot], sources[fill.slot].symbol) for fill in fills],
        "trades": [
            _trade(trip, instruments[slot], sources[slot].symbol, currency) for slot, trip in trips
        ],
        "assumptions": result.assumptions
        | {
            "curve": "the equity after the last bar of each trading date",
            "metrics": f"daily returns, {PERIODS_PER_YEAR} a year, risk-free rate 0, sample deviation",
            "trades": "round trips, first in first out, net of charges",
        },
        "sha256": result.sha256(),
    }  # fmt: skip


def _contract(one: Instrument) -> dict[str, Any]:
    """What a future or an option is, which its bars do not say."""
    if not one.is_contract:
        return {}
    strike = None if one.strike is None else format_scaled(one.strike, one.price_exp)
    return {"contract": {"kind": one.kind, "multiplier": str(one.multiplier), "strike": strike}}


def data_section(
    bars: Bars,
    sources: Sequence[Source],
    instruments: Sequence[Instrument],
    first_row: int,
    finer: Sequence[Source] = (),
) -> dict[str, Any]:
    """Which bars a run saw, and the digest of all that it read."""
    manifest = _manifest(sources, instruments)
    within = [{"file": one.file, "sha256": one.sha256} for one in finer]
    read = [*manifest, *within]
    return {
        "instruments": manifest,
        **({"finer": within} if within else {}),
        "manifest_sha256": hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest(),
        "bars": bars.rows,
        "first_bar": _at(bars, 0),
        "last_bar": _at(bars, bars.rows - 1),
        "traded_from": _at(bars, min(first_row, bars.rows - 1)),
        **_contract(instruments[0]),
    }


def _manifest(sources: Sequence[Source], instruments: Sequence[Instrument]) -> list[dict[str, Any]]:
    """What the run read of each instrument."""
    return [
        {
            "symbol": source.symbol,
            "file": source.file,
            "sha256": source.sha256,
            "actions": list(source.actions),
            "tick": format_scaled(one.tick, one.price_exp),
            "lot": format_scaled(one.lot, one.qty_exp),
        }
        for source, one in zip(sources, instruments, strict=True)
    ]


def _carried_out(result: Result, fills: Sequence[SimulatedFill], currency: str) -> dict[str, Any]:
    return {
        "orders": {
            "sent": result.orders,
            "filled": len({fill.order for fill in fills}),
            "expired": result.expired_orders,
            "unaffordable": result.unaffordable_orders,
            "cancelled": result.cancelled_orders,
        },
        "ambiguous_bars": result.ambiguous_bars,
        "margin_calls": result.margin_calls,
        "borrow_cost": _money(result.borrow_cost, currency),
        **({"interest": _money(result.interest, currency)} if result.interest else {}),
    }


def _at(bars: Bars, row: int) -> str:
    return format_time(from_us(int(bars.times[row])))


def _scaled(number: int | None, exponent: int) -> str:
    return format_scaled(number or 0, exponent)


def _money(minor: int, currency: str) -> str:
    return format_scaled(minor, currency_exponent(currency))


def _ends(bars: Bars, first_row: int) -> list[int]:
    """The last row of each trading date, from `first_row` on."""
    ends = np.flatnonzero(np.append(np.diff(bars.days) != 0, True))
    return [int(row) for row in ends if row >= first_row]


def _day(bars: Bars, row: int) -> date:
    return date.fromordinal(int(bars.days[row]) + EPOCH)


def _curve(bars: Bars, result: Result, currency: str, first_row: int) -> list[dict[str, str]]:
    return [
        {"date": _day(bars, row).isoformat(), "equity": _money(int(result.equity[row]), currency)}
        for row in _ends(bars, first_row)
    ]


def _judged(bars: Bars, result: Result, trips: list[tuple[int, RoundTrip]], first_row: int) -> dict[str, Any]:
    """`metrics` by name, null where undefined, and why in `undefined`."""
    rows = _ends(bars, first_row)
    days = [_day(bars, row) for row in rows]
    found = performance(
        result.initial_cash, result.equity[rows], days, start=_day(bars, first_row), periods_per_year=PERIODS_PER_YEAR
    )
    closed = [trip for _, trip in trips]
    metrics = {f.name: getattr(found, f.name) for f in fields(found) if isinstance(getattr(found, f.name), Metric)}
    metrics |= {"win_rate": win_rate(closed), "profit_factor": profit_factor(closed)}
    fall = found.drawdown
    return {
        "metrics": {name: metric.value for name, metric in metrics.items()}
        | {"trading_days": found.periods, "trades": len(closed)},
        "undefined": {name: metric.reason for name, metric in metrics.items() if metric.value is None},
        "drawdown": None
        if fall is None
        else {
            "depth": fall.depth,
            "peak": fall.peak.isoformat(),
            "trough": fall.trough.isoformat(),
            "recovered": fall.recovered.isoformat() if fall.recovered else None,
            "days": fall.days,
        },
    }


def _trips(bars: Bars, fills: Sequence[SimulatedFill], slots: int) -> list[tuple[int, RoundTrip]]:
    """(slot, trip), in the order of closing."""
    found: list[tuple[int, RoundTrip]] = []
    for slot in range(slots):
        own = [
            Execution(from_us(int(bars.times[f.row])), f.side, f.quantity, f.notional, f.charges)
            for f in fills
            if f.slot == slot
        ]
        found += [(slot, trip) for trip in round_trips(own)]
    return sorted(found, key=lambda item: item[1].closed)


def _fill(bars: Bars, fill: SimulatedFill, instrument: Instrument, symbol: str) -> dict[str, Any]:
    return {
        "at": _at(bars, fill.row),
        "symbol": symbol,
        "side": fill.side.value,
        "quantity": format_scaled(fill.quantity, instrument.qty_exp),
        "price": format_scaled(fill.price, instrument.price_exp),
        "notional": _money(fill.notional, instrument.currency),
        "charges": _money(fill.charges, instrument.currency),
        "order": fill.order,
        "reason": fill.reason,
        "cause": fill.cause,
        "cash_after": _money(fill.cash_after, instrument.currency),
    }


def _trade(trip: RoundTrip, instrument: Instrument, symbol: str, currency: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "side": trip.side.value,
        "quantity": format_scaled(trip.quantity, instrument.qty_exp),
        "opened": format_time(trip.opened),
        "closed": format_time(trip.closed),
        "entry": _money(trip.entry, currency),
        "exit": _money(trip.exit, currency),
        "charges": _money(trip.charges, currency),
        "profit": _money(trip.profit, currency),
    }
