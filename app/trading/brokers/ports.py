"""What the order path asks of whoever executes, and the answers it can get. Adapters implement `Broker`.

A broker is believed, and asked again: an answer to a call says what became of the call, a `Report` says what the
broker holds. What a report says is a fact, whatever was answered before.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable
from uuid import UUID

from app.kernel.orders import OrderType, Product, Side, Validity


@dataclass(frozen=True, slots=True)
class BrokerAccount:
    """Whose orders are asked for."""

    tenant_id: UUID
    account_id: UUID


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as a broker sees it. `tag` is our id there; prices and quantities at the instrument's exponents.

    `venue_order_id` is the broker's name for it, once it told us one. A stop trades once `trigger_price` is touched.
    No fill is worse than `protected_price`, `market_protection_bps` from the market or from the trigger. A TTL order
    lives `validity_minutes`, to `expires_at` by the market's clock. A broker with `Capabilities.native_iceberg` shows
    the market no more than `disclosed_quantity`; any other shows it all. `reduces`: it only closes what is held.
    """

    tenant_id: UUID
    order_id: UUID
    account_id: UUID
    tag: str
    feed: str
    instrument_id: UUID
    symbol: str
    venue: str
    price_exp: int
    qty_exp: int
    side: Side
    order_type: OrderType
    product: Product
    validity: Validity
    quantity: int
    limit_price: int | None
    tick: int
    slippage_bps: int
    venue_order_id: str | None = None
    trigger_price: int | None = None
    market_protection_bps: int | None = None
    protected_price: int | None = None
    disclosed_quantity: int | None = None
    validity_minutes: int | None = None
    expires_at: datetime | None = None
    reduces: bool = False

    @property
    def account(self) -> BrokerAccount:
        return BrokerAccount(self.tenant_id, self.account_id)


@dataclass(frozen=True, slots=True)
class Change:
    """What of a resting order shall be otherwise; None stays. `quantity` is the whole order's, fills included.

    `protected_price` follows a stop's trigger price. `validity` is asked only where `Capabilities.changes_validity`.
    """

    quantity: int | None = None
    limit_price: int | None = None
    trigger_price: int | None = None
    protected_price: int | None = None
    validity: Validity | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The broker has it. `venue_order_id` is the broker's name for it, `at` the broker's own time."""

    venue_order_id: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The broker refused it, and is sure: nothing of this call is there."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer that can be trusted: what was asked may or may not have happened. Never sent again by itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """Too many calls: the broker did not look at this one. It may be made again after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """The broker knows us no longer, and did not look at the call: somebody must log in first."""


Outcome = Accepted | Rejected | Unknown | Throttled | SessionExpired
NoAnswer = Unknown | Throttled | SessionExpired


class VenueStatus(StrEnum):
    """What a broker says of an order. `pending`: it has it, the exchange may not yet."""

    PENDING = "pending"
    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """Nothing more will happen to it."""
        return self not in (VenueStatus.PENDING, VenueStatus.OPEN)


@dataclass(frozen=True, slots=True)
class VenueFill:
    """One execution there. `id` is unique within the order; decimals, since a stranger's scale is not known here."""

    id: str
    quantity: str
    price: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """An order as the broker holds it now. `filled` may run ahead of `fills`: then the rest of them is still to come.

    `tag` is None on an order that was not sent by us. `reason` is the broker's text on what ended it.
    Prices and validity are what it has now, where the broker says so; and so is whether a stop was `triggered`.
    """

    tag: str | None
    venue_order_id: str
    status: VenueStatus
    symbol: str
    side: Side
    quantity: str
    filled: str
    fills: tuple[VenueFill, ...]
    at: datetime | None = None
    reason: str | None = None
    limit_price: str | None = None
    trigger_price: str | None = None
    validity: Validity | None = None
    triggered: bool | None = None


@dataclass(frozen=True, slots=True)
class NotFound:
    """The broker shows no such order. Whether it can still appear: `Capabilities.sure`."""


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """What the day's executions of one symbol sum to: bought minus sold."""

    symbol: str
    net: str


class Updates(StrEnum):
    """How its orders' news reach us. `none`: it executes in our own transactions, there is nothing to hear."""

    NONE = "none"
    POLL = "poll"
    PUSH = "push"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a broker can do. `sure`: an order that it does not find it never had, and one sent twice it has once.

    `changes_validity`: a change may also set another of its `validities`.
    """

    order_types: frozenset[OrderType]
    validities: frozenset[Validity]
    modify: bool
    changes_validity: bool
    native_iceberg: bool
    orders_per_second: int
    updates: Updates
    sure: bool


@runtime_checkable
class KeepsItsBookHere(Protocol):
    """A `Broker` whose book is in our database: an order comes to rest there in the transaction that begins it."""

    async def last_entry(self, feed: str) -> str:
        """The last entry that the feed has shown: an order that arrives now rests behind it."""


class Broker(Protocol):
    """Calls never raise for what a broker can answer; every other failure is the caller's `Unknown`."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def submit(self, order: BrokerOrder) -> Outcome:
        """Send an order. Where `capabilities.sure`, the same order twice is the same order."""

    async def modify(self, order: BrokerOrder, change: Change) -> Outcome:
        """Change a resting order. `Rejected`: it is as it was, or has ended."""

    async def cancel(self, order: BrokerOrder) -> Outcome:
        """Ask for an order to be taken back. `Accepted`: the broker will; whether it came too late `find` tells."""

    async def find(self, order: BrokerOrder) -> Report | NotFound | NoAnswer:
        """The order as it is there now, by the broker's name for it or by our tag."""

    async def orders(self, account: BrokerAccount) -> Sequence[Report] | NoAnswer:
        """Every order of the broker's day with its fills, whoever sent it."""

    async def positions(self, account: BrokerAccount) -> Sequence[VenuePosition] | NoAnswer:
        """What the broker's day traded, symbol by symbol."""

    def updates(self, account: BrokerAccount) -> AsyncIterator[str | None]:
        """Our tags (None: of a stranger's order) whose orders have news: a hint to ask, never the news itself.

        Ends when the connection does, or when it has been silent for too long. Raises `ConnectionError` when there is
        no connection to be had. Where `capabilities.updates` is not `push` it ends at once.
        """
