"""What an order asks for, the state in which it is decided, and what a decision says."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from app.engine.schedule import Charges
from app.kernel.money import currency_exponent, notional_minor
from app.kernel.orders import Leg, OrderClass, OrderStatus, Product, Side, Validity
from app.trading.orders.domain.client import ClientState
from app.trading.risk.domain import Finding, Limits

_LATER = (
    "trigger_price",
    "market_protection_bps",
    "disclosed_quantity",
    "validity_minutes",
    "after_market",
    "parameters",
)
"""Fields that count in a fingerprint only when they say something, or orders of an earlier release would be others."""

OUR_PREFIXES = ("exit_", "ord_")
"""Of client order ids that we make: of what closes positions, and of slices and exits. A caller who had one first would
keep the order from being placed."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out of what an order buys: a target, at a limit price; or a stop, at the market or a limit price once the
    trigger price is touched."""

    leg: Leg
    limit_price: int | None
    trigger_price: int | None = None

    @property
    def order_type(self) -> str:
        if self.leg is Leg.TARGET:
            return "limit"
        return "sl_m" if self.limit_price is None else "sl"


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """What the caller asks. Quantities and prices are integers at the instrument's exponents.

    `order_type` names a plug-in of `orders/types`; `parameters` are its own, as its model dumps them to JSON.
    """

    account_id: UUID
    instrument_id: UUID
    side: Side
    order_type: str
    quantity: int
    limit_price: int | None
    product: Product
    validity: Validity
    client_order_id: str
    deployment_id: UUID | None = None
    reason: str | None = None
    algo_id: str | None = None
    trigger_price: int | None = None
    market_protection_bps: int | None = None
    disclosed_quantity: int | None = None
    validity_minutes: int | None = None
    after_market: bool = False
    parameters: Mapping[str, Any] | None = None
    order_class: OrderClass = OrderClass.SINGLE
    slices: int | None = None
    exits: tuple[Exit, ...] = ()

    @property
    def book_id(self) -> UUID:
        return self.deployment_id or self.account_id

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what was asked: the same client order id must ask the same."""
        asked: tuple[object, ...] = (
            self.account_id,
            self.instrument_id,
            self.side,
            self.order_type,
            self.quantity,
            self.limit_price,
            self.product,
            self.validity,
            self.client_order_id,
            self.deployment_id,
        )
        if self.algo_id is not None:  # only then, or orders of an earlier release would be others
            asked += (self.algo_id,)
        if self.order_class is not OrderClass.SINGLE:
            asked += (self.order_class, self.slices, self.exits)
        more = {name: value for name in _LATER if (value := getattr(self, name)) is not None and value is not False}
        if more:
            asked += (json.dumps(more, sort_keys=True),)
        return hashlib.sha256("\x1f".join(map(str, asked)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Context:
    """What `orders_context` read, parsed: the account's, the instrument's and the market's state at one version.

    `book_…` is what the order's own book holds and trades of the instrument for the order's product. `pending` is what
    working orders could add to positions, in minor units. `flows` is what the client brought in and did not take out:
    `restated` says that it changed since the equities were noted, which are as if it had not.
    """

    account: Mapping[str, Any]
    instrument: Mapping[str, Any]
    tenant_status: str
    halted: Mapping[str, str] | None
    market_at: datetime | None
    session_day: date | None
    session_open: bool
    session_segment: str | None
    session_closes_at: datetime | None
    last_price: int | None
    price_age_s: int | None
    band_lower: int | None
    band_upper: int | None
    venue_halted: bool
    segment: str | None
    open_orders: int
    open_buy: int
    open_sell: int
    book_open_buy: int
    book_open_sell: int
    highest_buy: int | None
    lowest_sell: int | None
    book_quantity: int
    position_quantity: int
    available: int | None
    pending: int
    gross: int
    equity: int | None
    opening_equity: int | None
    high_equity: int | None
    peak_equity: int | None
    flows: int | None
    restated: bool
    limits: Limits
    rates: Mapping[str, int]
    recent: tuple[tuple[str, int, int | None, int], ...] | None
    client: ClientState | None = None
    """None: no limit is set for the account's client."""

    native_iceberg: bool = False
    """The account's broker hides a part of an order by itself."""

    def notional(self, quantity: int, price: int) -> int:
        """What so much of the instrument is worth, in minor units of the account's currency."""
        exponents = {name: self.instrument[name] for name in ("price_exp", "qty_exp")}
        return notional_minor(quantity, price, **exponents, money_exp=currency_exponent(self.account["currency"]))


@dataclass(frozen=True, slots=True)
class Decision:
    """`findings` has every rule's figures. An approved order holds `hold_minor` of the account's cash; `reduces`: it
    only closes what its book holds."""

    status: OrderStatus
    hold_minor: int
    findings: list[Finding]
    reduces: bool = False

    @property
    def reasons(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict == "deny"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an order would cost at `price`, the worst that is to be expected of its type.
    All None or empty while the feed shows no price."""

    price: int | None
    notional_minor: int | None
    charges: Charges
