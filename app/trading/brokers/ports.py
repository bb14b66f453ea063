"""What the order path asks of whoever executes, and the three answers it can get. Adapters implement `Broker`."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from app.kernel.orders import OrderType, Product, Side, Validity


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as a broker sees it. `tag` is our id there; prices and quantities at the instrument's exponents."""

    tenant_id: UUID
    order_id: UUID
    account_id: UUID
    tag: str
    feed: str
    instrument_id: UUID
    symbol: str
    venue: str
    side: Side
    order_type: OrderType
    product: Product
    validity: Validity
    quantity: int
    limit_price: int | None
    tick: int
    slippage_bps: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The broker has it. `venue_order_id` is the broker's name for it."""

    venue_order_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The broker refused it and nothing rests there."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer that can be trusted: the order may or may not be there. Never sent again by itself."""

    reason: str


Outcome = Accepted | Rejected | Unknown


class Broker(Protocol):
    """Calls never raise for what a broker can answer; every other failure is the caller's `Unknown`."""

    async def submit(self, order: BrokerOrder) -> Outcome:
        """Send an order. The same order twice is the same order."""

    async def cancel(self, order: BrokerOrder) -> Outcome:
        """Take an order back. `Accepted`: it no longer rests and nothing more will fill."""

    async def find(self, order: BrokerOrder) -> Outcome:
        """Ask by our tag. `Rejected`: the broker is sure that it never had it, or has it no longer."""
