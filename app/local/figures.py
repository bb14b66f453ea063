"""Decides what the summary shows and what `--check` accepts. Pure: the figures are read elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from app.kernel.money import Money, currency_exponent, notional_minor

Position = tuple[UUID, UUID, str]
"""A book, an instrument and what is held as: for delivery or intraday."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A stored position with what values it: the last `price` of the account's feed at `price_exp`, None before one."""

    account_id: UUID
    book_id: UUID
    instrument_id: UUID
    product: str
    quantity: int
    cost_minor: int
    symbol: str
    currency: str
    price_exp: int
    qty_exp: int
    price: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """What changed a position: a fill's signed `quantity`, or a split of `numerator` new for `denominator` old."""

    account_id: UUID
    book_id: UUID
    instrument_id: UUID
    product: str
    quantity: int
    numerator: int = 1
    denominator: int = 1


@dataclass(frozen=True, slots=True)
class StrategyFigures:
    """One deployed strategy and its account. Amounts in minor units of `currency`; `positions` are (symbol, quantity).

    `resting` counts open orders that wait for a price, `moving` those neither terminal nor resting.
    `positions_from_fills` is computed from the fills alone, `equity` is what portfolio reports.
    """

    name: str
    status: str
    currency: str
    orders: int
    resting: int
    moving: int
    fills: int
    denied: int
    cash: int
    market_value: int
    equity: int
    positions: tuple[tuple[str, str], ...] = ()
    positions_from_fills: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """One consistent look at the demo tenant. `ledger` is the sum of all entries per currency, in minor units."""

    market_at: datetime | None = None
    feed_status: str = "waiting"
    bars: int = 0
    strategies: tuple[StrategyFigures, ...] = ()
    ledger: dict[str, int] = field(default_factory=dict)
    drifted: int = 0  # ledger accounts whose balance is not the sum of their entries
    denials: dict[str, int] = field(default_factory=dict)  # by reason

    @property
    def trading(self) -> bool:
        """Whether every strategy has a filled order."""
        return bool(self.strategies) and all(strategy.fills > 0 for strategy in self.strategies)

    @property
    def stalled(self) -> bool:
        """Whether a strategy without a fill was paused or stopped: waiting for it is in vain."""
        return any(strategy.fills == 0 and strategy.status != "running" for strategy in self.strategies)

    @property
    def settled(self) -> bool:
        """Whether every order is terminal or resting at this moment."""
        return all(strategy.moving == 0 for strategy in self.strategies)


def money(minor: int, currency: str) -> str:
    """`1234567, "USD"` as `12,345.67 USD`."""
    amount, _, code = str(Money(minor, currency)).partition(" ")
    whole, dot, fraction = amount.partition(".")
    return f"{int(whole):,}{dot}{fraction} {code}" if minor >= 0 else f"-{money(-minor, currency)}"


def market_value(holding: Holding) -> int:
    """Minor units, rounded once, half up; at cost while the instrument has shown no price."""
    if holding.price is None:
        return holding.cost_minor
    exponent = currency_exponent(holding.currency)
    return notional_minor(
        holding.quantity, holding.price, qty_exp=holding.qty_exp, price_exp=holding.price_exp, money_exp=exponent
    )


def reduced(changes: Iterable[Change]) -> dict[Position, int]:
    """The quantity of each position that `changes`, oldest first, leave. Splits leave whole units."""
    held: dict[Position, int] = {}
    for change in changes:
        key = change.book_id, change.instrument_id, change.product
        before = held.get(key, 0)
        sign = 1 if before >= 0 else -1
        held[key] = sign * (abs(before) * change.numerator // change.denominator) + change.quantity
    return held


def broken_invariants(summary: Summary) -> list[str]:
    """What must hold in every look, whatever is under way. Empty when the books are right."""
    broken = [
        f"ledger: entries in {currency} sum to {total}, not to zero"
        for currency, total in sorted(summary.ledger.items())
        if total != 0
    ]
    if summary.drifted:
        broken.append(f"ledger: {summary.drifted} accounts hold another balance than the sum of their entries")
    for strategy in summary.strategies:
        if sorted(strategy.positions) != sorted(strategy.positions_from_fills):
            broken.append(
                f"{strategy.name}: positions {dict(strategy.positions)} differ from those of its fills "
                f"{dict(strategy.positions_from_fills)}"
            )
        if strategy.equity != strategy.cash + strategy.market_value:
            broken.append(
                f"{strategy.name}: equity {strategy.equity} is not cash {strategy.cash} "
                f"+ positions {strategy.market_value}"
            )
    return broken


def failures(summary: Summary, *, waited_s: float) -> list[str]:
    """Why `--check` fails on this look; empty when it passes."""
    found = broken_invariants(summary)
    if not summary.strategies:
        found.append(f"no strategy is deployed after {waited_s:.0f} s")
    found += [
        f"{strategy.name}: no order has filled within {waited_s:.0f} s ({strategy.orders} orders, "
        f"{strategy.denied} denied, status {strategy.status})"
        for strategy in summary.strategies
        if strategy.fills == 0
    ]
    found += [
        f"{strategy.name}: {strategy.moving} orders are neither terminal nor resting"
        for strategy in summary.strategies
        if strategy.moving
    ]
    return found


def report(summary: Summary, failed: Sequence[str], *, seconds: dict[str, float]) -> dict[str, Any]:
    """The one line of JSON of `--check`. `seconds` since the start of the command, by milestone."""
    return {
        "ok": not failed,
        "failures": list(failed),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "market_at": None if summary.market_at is None else summary.market_at.isoformat(),
        "bars": summary.bars,
        "orders": sum(strategy.orders for strategy in summary.strategies),
        "fills": sum(strategy.fills for strategy in summary.strategies),
        "denied": sum(strategy.denied for strategy in summary.strategies),
        "ledger_sums": summary.ledger,
        "strategies": [asdict(strategy) for strategy in summary.strategies],
    }
