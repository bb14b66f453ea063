"""Decides what a backtest's result says: one document of plain values. Pure: the same run gives the same bytes.

The curve is that of trading dates: the equity after the last bar of each. Metrics are of it, so their returns are daily
whatever the bars are.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import numpy as np

from app.engine.bars import EPOCH, Bars
from app.engine.instruments import Instrument
from app.engine.layout import ENGINE_VERSION
from app.engine.program import Program
from app.engine.simulation import Result, SimulatedFill
from app.kernel.money import currency_exponent, format_scaled
from app.market.data.domain import from_us
from app.quant.performance import Metric, performance
from app.quant.trips import Execution, RoundTrip, profit_factor, round_trips, win_rate

PERIODS_PER_YEAR = 252


@dataclass(frozen=True, slots=True)
class Source:
    """Where one instrument's bars came from. `sha256` of the file."""

    symbol: str
    file: str
    sha256: str


def result_document(
    program: Program,
    bars: Bars,
    result: Result,
    *,
    instruments: Sequence[Instrument],
    sources: Sequence[Source],
    first_row: int = 0,
) -> dict[str, Any]:
    """Everything a reader needs to judge the run and to repeat it. Money and prices are decimal strings.

    `first_row`: the first that could decide; the curve begins with it.
    """
    currency = instruments[0].currency
    fills = result.fill_records()
    trips = _trips(bars, fills, len(instruments))
    manifest = [{"symbol": s.symbol, "file": s.file, "sha256": s.sha256} for s in sources]
    return {
        "program": {
            "name": program.name,
            "digest": program.digest,
            "parameters": dict(program.parameters),
            "engine": ENGINE_VERSION,
        },
        "data": {
            "instruments": manifest,
            "manifest_sha256": hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest(),
            "bars": bars.rows,
            "first_bar": _at(bars, 0),
            "last_bar": _at(bars, bars.rows - 1),
            "traded_from": _at(bars, min(first_row, bars.rows - 1)),
            **_contract(instruments[0]),
        },
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
    }


def _at(bars: Bars, row: int) -> str:
    return from_us(int(bars.times[row])).isoformat().replace("+00:00", "Z")


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
        "opened": trip.opened.isoformat().replace("+00:00", "Z"),
        "closed": trip.closed.isoformat().replace("+00:00", "Z"),
        "entry": _money(trip.entry, currency),
        "exit": _money(trip.exit, currency),
        "charges": _money(trip.charges, currency),
        "profit": _money(trip.profit, currency),
    }
