"""Orders and fills as the API takes and shows them."""

from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from app.kernel.ids import decode_id, encode_id
from app.kernel.instrument import InstrumentScale
from app.kernel.money import currency_exponent, format_scaled, format_trimmed
from app.kernel.orders import OrderStatus, Side
from app.trading.orders.domain import PlaceOrder
from app.trading.orders.domain.asked import OUR_PREFIXES
from app.trading.orders.service import MAX_ORDERS, Preview, Supposed, Which, kinds, own_parameters
from app.trading.orders.service.group_terms import GroupTerms, GroupTermsOut
from app.trading.orders.tables import Order
from app.web.bulk import MAX_BULK
from app.web.models import ApiModel

_ORDER: JsonDict = {
    "account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "instrument_id": "ins_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "side": "buy",
    "order_type": "limit",
    "quantity": "10",
    "limit_price": "210.35",
    "client_order_id": "my-order-1",
}
_Id = Annotated[str, Field(max_length=64)]
_KINDS = kinds()
_Kind = Annotated[
    str,
    Field(description=" ".join(f"`{name}`: {kind.title}" for name, kind in _KINDS.items())),
    WithJsonSchema({"type": "string", "enum": list(_KINDS)}),
]
_OWN = {name: kind.Parameters.model_json_schema() for name, kind in _KINDS.items() if kind.Parameters}
_Parameters = Annotated[
    dict[str, Any] | None,
    Field(description="What one order type alone takes."),
    WithJsonSchema({"anyOf": [*_OWN.values(), {"type": "null"}]}),
]


def _not_ours(name: str) -> str:
    if name.startswith(OUR_PREFIXES):
        raise PydanticCustomError("client_order_id", f"must not begin with {_OURS}, as ids that we make; take another")
    return name


_OURS = " or ".join(OUR_PREFIXES)
_ClientOrderId = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$"), AfterValidator(_not_ours)
]


class CreateOrder(GroupTerms):
    """What `POST /v1/orders` takes."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ORDER]})

    account_id: _Id
    instrument_id: _Id
    order_type: _Kind
    parameters: _Parameters = None
    client_order_id: _ClientOrderId | None = Field(
        default=None,
        description="Yours, unique per account for ever: the same id never trades twice. By default it is made of "
        f"the header `Idempotency-Key`, else new. Those that begin with {_OURS} are made by us alone: of slices, of "
        "exits and of what closes positions.",
    )

    algo_id: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9_.-]+$")] | None = Field(
        default=None, description="The exchange's id of the algorithm that places it; a halt can name it."
    )

    def command(self, scale: InstrumentScale, client_order_id: str) -> PlaceOrder:
        """Raises `invalid_id`, `too_precise`, `out_of_range`, `invalid_parameters`."""
        return PlaceOrder(
            account_id=decode_id("acc", self.account_id, param="account_id"),
            instrument_id=scale.instrument_id,
            client_order_id=client_order_id,
            algo_id=self.algo_id,
            parameters=own_parameters(self.order_type, self.parameters),
            **self.scaled(scale),
        )


class BulkOrders(ApiModel):
    """What `POST /v1/orders/bulk` takes: orders as `POST /v1/orders` takes them, of any accounts of the key's mode."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"orders": [_ORDER]}]})

    orders: list[CreateOrder] = Field(min_length=1, max_length=MAX_BULK, description="Placed in this order.")


class BulkCancel(ApiModel):
    """What `POST /v1/orders/bulk_cancel` takes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"order_ids": ["ord_01kpx4t8yhe6rb2y6x3v1m9d0c"]}]})

    order_ids: list[_Id] = Field(min_length=1, max_length=MAX_BULK, description="The orders to take back.")


_EXIT: JsonDict = {"account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c"}


class CancelAll(ApiModel):
    """What `POST /v1/orders/cancel_all` takes; without any field, it means every working order of the key's mode."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXIT, {}]})

    account_id: _Id | None = Field(default=None, description="Only this account's.")
    instrument_id: _Id | None = Field(default=None, description="Only in this instrument.")
    side: Side | None = Field(default=None, description="Only this side.")

    def which(self) -> Which:
        """Raises `invalid_id`."""
        return _which(self.account_id, self.instrument_id, self.side)


class ExitAll(ApiModel):
    """What `POST /v1/positions/exit_all` takes: which positions of the account; without more fields, all of them."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXIT]})

    account_id: _Id = Field(description="The account to leave the market with.")
    instrument_id: _Id | None = Field(default=None, description="Only in this instrument.")

    def which(self) -> Which:
        """Raises `invalid_id`."""
        return _which(self.account_id, self.instrument_id, None)


def _which(account_id: str | None, instrument_id: str | None, side: Side | None) -> Which:
    return Which(
        None if account_id is None else decode_id("acc", account_id, param="account_id"),
        None if instrument_id is None else decode_id("ins", instrument_id, param="instrument_id"),
        side,
    )


class LeavingOut(ApiModel):
    """What was asked for: each order ends as an event `order.cancelled` (or filled first), each exit is an order."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"cancelling": ["ord_01kpx4t8yhe6rb2y6x3v1m9d0c"], "exiting": []}]}
    )

    cancelling: list[str] = Field(description="The orders that are being taken back.")
    exiting: list[str] = Field(description="The instruments whose positions are being closed, one for each book.")

    @classmethod
    def of(cls, orders: list[UUID], instruments: list[UUID]) -> "LeavingOut":
        return cls(
            cancelling=[encode_id("ord", order_id) for order_id in orders],
            exiting=[encode_id("ins", instrument_id) for instrument_id in instruments],
        )


class FindingOut(ApiModel):
    """What one rule said, with its figures."""

    rule: str
    verdict: str = Field(description="`pass` or `deny`.")
    limit: str = Field(description="What the rule allows.")
    value: str = Field(description="What the order would come to.")
    message: str


_PREVIEW: JsonDict = {
    "dry_run": True,
    "status": "accepted",
    "price": "210.35",
    "notional": "2103.50",
    "charges": "1.10",
    "charge_heads": {"commission": "1.10"},
    "hold": "2104.60",
    "available": "10000.00",
    "currency": "USD",
    "market_at": "2003-06-02T20:00:00Z",
    "risk": [],
}


class OrderPreviewOut(ApiModel):
    """What `POST /v1/orders?dry_run=true` answers: the decision and the cost of an order that was not placed."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PREVIEW]})

    dry_run: Literal[True] = Field(default=True, description="Nothing was written.")
    status: OrderStatus = Field(description="`accepted` or `denied`: what the order would have become.")
    price: str | None = Field(
        description="The limit; of a market order the last price with slippage and buffer; null while none is known."
    )
    notional: str | None = Field(description="Quantity times price.")
    charges: str = Field(description="All charges at that price.")
    charge_heads: dict[str, str] = Field(description="The charges, head by head.")
    hold: str = Field(description="What the order would reserve of the account's cash; zero when denied or selling.")
    available: str = Field(description="The account's available cash now.")
    currency: str = Field(description="Of all amounts.")
    market_at: datetime | None = Field(description="The market clock at the decision.")
    risk: list[FindingOut] = Field(description="What every rule said, with its figures.")

    @classmethod
    def of(cls, preview: Preview) -> "OrderPreviewOut":
        scale, cost = preview.scale, preview.estimate
        money = currency_exponent(scale.currency)
        return cls(
            status=preview.decision.status,
            price=None if cost.price is None else format_trimmed(cost.price, scale.price_exp),
            notional=None if cost.notional_minor is None else format_scaled(cost.notional_minor, money),
            charges=format_scaled(cost.charges.total, money),
            charge_heads={head.name: format_scaled(head.minor, money) for head in cost.charges.heads},
            hold=format_scaled(preview.decision.hold_minor, money),
            available=format_scaled(preview.available_minor, money),
            currency=scale.currency,
            market_at=preview.market_at,
            risk=[FindingOut(**finding.as_dict()) for finding in preview.decision.findings],
        )


class WhatIf(ApiModel):
    """What `POST /v1/risk/what_if` takes: orders as `POST /v1/orders` takes them, of one account. Their
    `client_order_id` is not looked at."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"orders": [_ORDER]}]})

    orders: list[CreateOrder] = Field(
        min_length=1, max_length=MAX_ORDERS, description="In the order in which they would be placed."
    )


class SupposedOrderOut(OrderPreviewOut):
    """One of them: decision, cost and what it would leave."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**_PREVIEW, "instrument_id": _ORDER["instrument_id"], "position_after": "10"}]}
    )
    instrument_id: str = Field(description="What it trades.")
    position_after: str = Field(description="The account's position, if those that pass up to here fill.")

    @classmethod
    def of_supposed(cls, one: Supposed) -> "SupposedOrderOut":
        preview = OrderPreviewOut.of(one.preview)
        return cls(
            **preview.model_dump(),
            instrument_id=encode_id("ins", one.command.instrument_id),
            position_after=format_scaled(one.position_after, one.preview.scale.qty_exp),
        )


class WhatIfOut(ApiModel):
    """All of them, in turn."""

    data: list[SupposedOrderOut]
    has_more: bool = False

    @classmethod
    def of(cls, supposed: Sequence[Supposed]) -> "WhatIfOut":
        return cls(data=[SupposedOrderOut.of_supposed(one) for one in supposed])


class OrderOut(GroupTermsOut):
    """One order. Its life is told by events of type `order.<status>`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_ORDER,
                    "id": "ord_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "deployment_id": None,
                    "symbol": "AAPL",
                    "trigger_price": None,
                    "market_protection": None,
                    "protected_price": None,
                    "disclosed_quantity": None,
                    "product": "delivery",
                    "validity": "day",
                    "validity_minutes": None,
                    "expires_at": None,
                    "after_market": False,
                    "triggered_at": None,
                    "parameters": None,
                    "pending_change": None,
                    "mode": "test",
                    "status": "accepted",
                    "status_reason": None,
                    "filled_quantity": "0",
                    "average_price": None,
                    "held": "2104.60",
                    "intent_reason": None,
                    "algo_id": None,
                    "order_class": "single",
                    "leg": None,
                    "parent_id": None,
                    "children": [],
                    "market_at": "2003-06-02T20:00:00Z",
                    "created_at": "2026-01-30T12:00:00Z",
                    "updated_at": "2026-01-30T12:00:00Z",
                    "risk": [],
                }
            ]
        }
    )

    id: str
    account_id: str
    deployment_id: str | None
    instrument_id: str
    symbol: str
    client_order_id: str
    order_type: _Kind
    mode: str
    status: OrderStatus
    status_reason: str | None = Field(description="Why it was denied, rejected, cancelled or expired.")
    filled_quantity: str
    average_price: str | None = Field(description="Of what is filled, rounded to the price's scale.")
    held: str = Field(description="What the order reserved of the account's cash when it was accepted or changed.")
    intent_reason: str | None = Field(description="Why a strategy placed it.")
    algo_id: str | None = Field(description="The exchange's id of the algorithm that placed it.")
    children: list["OrderOut"] | None = Field(description="Its slices or exits; null in lists.")
    market_at: datetime | None = Field(description="The market clock at the decision.")
    created_at: datetime
    updated_at: datetime
    risk: list[FindingOut] | None = Field(description="What the rules said; null in lists.")

    @classmethod
    def of(
        cls,
        order: Order | SimpleNamespace,
        scale: InstrumentScale,
        findings: list[dict[str, Any]] | None = None,
        children: Sequence[Order] | None = None,
    ) -> "OrderOut":
        return cls(
            **GroupTermsOut.shown(order, scale),
            id=encode_id("ord", order.id),
            account_id=encode_id("acc", order.account_id),
            deployment_id=encode_id("dep", order.deployment_id) if order.deployment_id else None,
            instrument_id=encode_id("ins", order.instrument_id),
            symbol=scale.symbol,
            client_order_id=order.client_order_id,
            mode=order.mode,
            status=OrderStatus(order.status),
            status_reason=order.status_reason,
            filled_quantity=format_scaled(order.filled_quantity, scale.qty_exp),
            average_price=_average(order, scale),
            held=format_scaled(order.hold_minor, currency_exponent(scale.currency)),
            intent_reason=order.intent_reason,
            algo_id=order.algo_id,
            children=None if children is None else [cls.of(child, scale) for child in children],
            market_at=order.market_at,
            created_at=order.created_at,
            updated_at=order.updated_at,
            risk=None if findings is None else [FindingOut(**finding) for finding in findings],
        )


def _average(order: Order | SimpleNamespace, scale: InstrumentScale) -> str | None:
    if order.filled_quantity == 0:
        return None
    shift = scale.price_exp + scale.qty_exp - currency_exponent(scale.currency)
    price = (2 * order.filled_notional * 10**shift + order.filled_quantity) // (2 * order.filled_quantity)
    return format_trimmed(price, scale.price_exp)
