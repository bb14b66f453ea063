"""Place an order: gather in one call, decide in Python, write in one call; optimistic on the account's version."""

import json
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind, conflict, invalid, not_found
from app.kernel.ids import broker_tag, encode_id, uuid7
from app.kernel.orders import OrderStatus
from app.trading.orders.domain import Context, Decision, PlaceOrder, check_form, decide
from app.trading.orders.service.reading import get_order
from app.trading.orders.tables import Order
from app.trading.risk.domain import Finding
from app.trading.risk.service import rules

_CONTEXT = "select orders_context($1, $2, $3, $4, $5)"
_WRITE = "select orders_write($1, $2, $3::jsonb, $4::jsonb, $5, $6, $7::jsonb, $8, $9, $10)"
ATTEMPTS = 8
"""How often a decision is made again because another order or a fill of the account came between."""


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """The order's state after the call. `replayed`: it had been placed before with the same client order id."""

    id: UUID
    status: OrderStatus
    reasons: list[Finding]
    replayed: bool


async def place_order(tx: Tx, command: PlaceOrder, *, now: datetime) -> PlacedOrder:
    """Decide on an order and store it, accepted or denied, once per client order id.

    Raises `invalid` for what is wrong by form or fixed facts (nothing is written), `client_order_id_reused` for
    another order under the same id, `account_busy` when the account never held still. `now` stamps the order's id.
    """
    order_id = uuid7(unix_ms=int(now.timestamp() * 1000))
    for _ in range(ATTEMPTS):
        found = json.loads(
            await tx.fetchval(
                _CONTEXT,
                tx.tenant_id,
                command.account_id,
                command.book_id,
                command.instrument_id,
                command.client_order_id,
            )
        )
        if found["account"] is None:
            raise not_found("account", encode_id("acc", command.account_id))
        if known := found.get("known"):
            return _replay(known, command)
        if found["instrument"] is None:
            raise invalid(
                "unknown_instrument", "No instrument has this id; GET /v1/instruments.", param="instrument_id"
            )
        context = _context(found)
        check_form(command, context, mode=tx.principal.mode if tx.principal else None)
        decision = decide(command, context, rules())
        if await _write(tx, order_id, command, context, decision):
            if decision.status is OrderStatus.ACCEPTED:
                tx.wake("execution")
            return PlacedOrder(order_id, decision.status, decision.reasons, replayed=False)
    raise DomainError("account_busy", Kind.UNAVAILABLE, "Too many orders of this account at once; send it again.")


async def _write(tx: Tx, order_id: UUID, command: PlaceOrder, context: Context, decision: Decision) -> bool:
    who = tx.principal
    order = {
        "id": str(order_id),
        "account_id": str(command.account_id),
        "deployment_id": str(command.deployment_id) if command.deployment_id else None,
        "instrument_id": str(command.instrument_id),
        "client_order_id": command.client_order_id,
        "fingerprint": command.fingerprint,
        "mode": context.account["mode"],
        "broker": context.account["broker"],
        "feed": context.account["feed"],
        "side": command.side,
        "order_type": command.order_type,
        "product": command.product,
        "validity": command.validity,
        "quantity": command.quantity,
        "limit_price": command.limit_price,
        "filled_quantity": 0,
        "filled_notional": 0,
        "hold_minor": decision.hold_minor,
        "status": decision.status,
        "status_reason": decision.reasons[0].rule if decision.reasons else None,
        "intent_reason": command.reason,
        "broker_tag": broker_tag(order_id),
        "market_at": context.market_at.isoformat() if context.market_at else None,
    }
    event = {"client_order_id": command.client_order_id, "reasons": [asdict(r) for r in decision.reasons]}
    try:
        written = await tx.fetchval(
            _WRITE,
            tx.tenant_id,
            context.account["version"],
            json.dumps(order),
            json.dumps([asdict(finding) for finding in decision.findings]),
            context.session_day,
            context.equity,
            json.dumps(event),
            who.key_id if who else None,
            who.source_ip if who else None,
            who.request_id if who else None,
        )
    except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
        return False
    return written is not None


def _replay(known: dict[str, Any], command: PlaceOrder) -> PlacedOrder:
    if known["fingerprint"] != command.fingerprint:
        raise conflict(
            "client_order_id_reused",
            "Another order of this account has this client_order_id; use a new one for a new order.",
            param="client_order_id",
        )
    return PlacedOrder(UUID(known["id"]), OrderStatus(known["status"]), [], replayed=True)


def _context(found: dict[str, Any]) -> Context:
    day, at = found["session_day"], found["market_at"]
    return Context(
        account=found["account"],
        instrument=found["instrument"],
        tenant_status=found["tenant_status"],
        market_at=datetime.fromisoformat(at) if at else None,
        session_day=date.fromisoformat(day) if day else None,
        last_price=found["last_price"],
        open_orders=found["open_orders"],
        open_buy=found["open_buy"],
        open_sell=found["open_sell"],
        book_open_sell=found["book_open_sell"],
        book_quantity=found["book_quantity"],
        position_quantity=found["position_quantity"],
        available=found["available"],
        equity=found["equity"],
        opening_equity=found["opening_equity"],
        limits=found["limits"] or {},
    )


async def request_cancel(tx: Tx, order_id: UUID, *, now: datetime) -> Order:
    """Ask for an order to be taken back: a row of work that overtakes everything else in the account's lane.

    Raises `order_not_cancellable` for an order whose life has ended. Answers the order as it is now.
    """
    del now
    order = await get_order(tx, order_id)
    if order.status in ("denied", "filled", "cancelled", "rejected", "expired", "lost"):
        raise conflict("order_not_cancellable", f"The order is {order.status}; only a working order can be cancelled.")
    tx.work("execution", "order.cancel", order.account_id, {"order_id": str(order_id)}, priority=0)
    return order
