"""Place an order: gather in one call, decide in Python, write in one call; optimistic on the account's version."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
from pydantic_core import from_json, to_json

from app.infra.database import Tx
from app.infra.idempotency.keys import Claim, reused
from app.infra.together import Function
from app.infra.work.backlog import Backlog
from app.kernel.errors import DomainError, Kind, conflict, invalid, not_found
from app.kernel.ids import broker_tag, encode_id, uuid7
from app.kernel.instrument import InstrumentScale
from app.kernel.orders import Leg, OrderClass, OrderStatus
from app.trading.brokers.service import hides_quantity
from app.trading.orders.domain import (
    Context,
    Decision,
    Estimate,
    PlaceOrder,
    Waits,
    check_form,
    decide,
    estimate,
    hidden,
    kind_of,
)
from app.trading.orders.domain.client import CLIENT_WIDE, ClientState
from app.trading.orders.service.grouping import children_of, grouped
from app.trading.orders.service.kinds import kinds
from app.trading.orders.service.reading import get_order
from app.trading.orders.tables import Order
from app.trading.risk.domain import Finding
from app.trading.risk.service import effective, rules, said_at

_CONTEXT = Function("orders_context", ("uuid", "uuid", "uuid", "uuid", "text", "text", "uuid", "text"))
_WRITTEN = ("uuid", "bigint", "jsonb", "jsonb", "date", "bigint", "bigint", "bigint", "jsonb", "uuid", "text", "text")
_WRITE = Function("orders_write", (*_WRITTEN, "uuid", "uuid", "uuid", "jsonb"))
_WRITE_GROUP = Function("orders_write_group", (*_WRITE.types, "jsonb"))
ATTEMPTS = 8
"""How often a decision is made again because another order or a fill of the account came between."""


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """The order as it was stored. `replayed`: it had been placed before with the same client order id; then `order`
    and `scale` are None, and the order may have moved on."""

    id: UUID
    status: OrderStatus
    findings: list[Finding]
    replayed: bool
    order: SimpleNamespace | None = None  # the row's columns: building an ORM row costs more than the decision
    scale: InstrumentScale | None = None

    @property
    def reasons(self) -> list[Finding]:
        """Why it was denied."""
        return [finding for finding in self.findings if finding.verdict == "deny"]


@dataclass(frozen=True, slots=True)
class Preview:
    """A decision that was not stored, with the order's cost."""

    decision: Decision
    estimate: Estimate
    scale: InstrumentScale
    available_minor: int
    market_at: datetime | None


async def place_order(
    tx: Tx, command: PlaceOrder, *, now: datetime, claim: Claim | None = None, backlog: Backlog | None = None
) -> PlacedOrder:
    """Decide on an order and store it, accepted or denied, once per client order id and once per `claim`.

    Raises `invalid` for what is wrong by form or fixed facts (nothing is written), `client_order_id_reused` for
    another order under the same id, `idempotency_key_reused` for another request under the same key, `account_busy`
    when the account never held still, `backlog_late` for an order that takes risk while the tenant is late in
    `backlog`. `now` stamps the order's id.
    """
    async with tx.turn(command.account_id), AsyncExitStack() as turns:
        return await _place(tx, command, now, claim, backlog, turns)


async def _place(
    tx: Tx, command: PlaceOrder, now: datetime, claim: Claim | None, backlog: Backlog | None, turns: AsyncExitStack
) -> PlacedOrder:
    """`turns` holds what others have to wait for until the order is placed."""
    order_id = uuid7(unix_ms=int(now.timestamp() * 1000))
    for attempt in range(ATTEMPTS):
        found = await _gather(tx, command, claim)
        if claimed := found.get("claimed"):
            return _repeat(claimed, claim)
        if known := found.get("known"):
            return _replay(known, command)
        context = _context(found)
        if attempt == 0 and context.client is not None and (others := _client_turn(tx, context)).locked():
            await turns.enter_async_context(others)
            continue
        check_form(command, context, kinds(), mode=tx.principal.mode if tx.principal else None)
        decision = decide(command, context, kinds(), rules())
        if backlog is not None and decision.status is OrderStatus.ACCEPTED and not decision.reduces:
            backlog.refuse("execution", tx.tenant_id)
        order = _order(order_id, command, context, decision, now=now)
        children = []
        if decision.status is OrderStatus.ACCEPTED:
            children = children_of(order, command, context)
        written_at = await _write(tx, order, children, context, decision, claim)
        if written_at is None:
            if context.client is not None and attempt == 0:  # one of the client's accounts could win every time
                await turns.enter_async_context(_client_turn(tx, context))
            continue
        if decision.status is OrderStatus.ACCEPTED and order["waiting"] is None:
            tx.wake("execution")
        row = SimpleNamespace(**order, venue_order_id=None, created_at=written_at, updated_at=written_at)
        scale = _scale(command.instrument_id, context)
        return PlacedOrder(order_id, decision.status, decision.findings, replayed=False, order=row, scale=scale)
    raise DomainError("account_busy", Kind.UNAVAILABLE, "Too many orders of this account at once; send it again.")


def _client_turn(tx: Tx, context: Context) -> asyncio.Lock:
    return tx.turn(UUID(context.account["client_id"]))


async def preview_order(tx: Tx, command: PlaceOrder) -> Preview:
    """What `place_order` would decide on the state as it is now, and what the order would cost. Writes nothing.

    Raises what `place_order` raises, and `order_exists` where it would answer an order that was placed before.
    """
    return previewed(tx, command, await gathered(tx, command))


async def gathered(tx: Tx, command: PlaceOrder) -> Context:
    """What a decision on the order would see. Raises what `preview_order` says of accounts, instruments and ids."""
    found = await _gather(tx, command, None)
    if known := found.get("known"):
        earlier = _replay(known, command)
        placed = encode_id("ord", earlier.id)
        message = f"This client_order_id has placed this order before: GET /v1/orders/{placed} shows it."
        raise conflict("order_exists", message, param="client_order_id")
    return _context(found)


def previewed(tx: Tx, command: PlaceOrder, context: Context) -> Preview:
    """The decision on `context` and the cost. Raises what is wrong by form."""
    check_form(command, context, kinds(), mode=tx.principal.mode if tx.principal else None)
    return Preview(
        decide(command, context, kinds(), rules()),
        estimate(command, context, kinds()),
        _scale(command.instrument_id, context),
        available_minor=context.available or 0,
        market_at=context.market_at,
    )


async def _gather(tx: Tx, command: PlaceOrder, claim: Claim | None) -> dict[str, Any]:
    """What `orders_context` read. Raises for an account or an instrument that does not exist."""
    found: dict[str, Any] = from_json(
        await tx.ask(
            _CONTEXT,
            command.account_id,
            command.account_id,
            command.book_id,
            command.instrument_id,
            command.product,
            command.client_order_id,
            claim.id if claim else None,
            command.algo_id,
        )
    )
    if "claimed" in found:
        return found
    if found["account"] is None:
        raise not_found("account", encode_id("acc", command.account_id))
    if "known" not in found and found["instrument"] is None:
        raise invalid("unknown_instrument", "No instrument has this id; GET /v1/instruments.", param="instrument_id")
    return found


def _order(
    order_id: UUID, command: PlaceOrder, context: Context, decision: Decision, *, now: datetime
) -> dict[str, Any]:
    """The columns of the new row, but for the tenant and the times; `waiting`: what it waits for before it is sent."""
    kind = kind_of(command, kinds())
    waits = kind.waits(command, context)
    lives = timedelta(minutes=command.validity_minutes) if command.validity_minutes is not None else None
    return {
        "id": order_id,
        "account_id": command.account_id,
        "deployment_id": command.deployment_id,
        "instrument_id": command.instrument_id,
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
        "reduces": decision.reduces,
        "status": decision.status,
        "status_reason": decision.reasons[0].rule if decision.reasons else None,
        "intent_reason": command.reason,
        "algo_id": command.algo_id,
        "broker_tag": broker_tag(order_id),
        "market_at": context.market_at,
        **grouped(order_id, command, context),
        "trigger_price": waits.trigger_price if waits else command.trigger_price,
        "market_protection_bps": kind.protection_bps(command, context),
        "protected_price": kind.protected_price(command, context),
        "disclosed_quantity": hidden(command, context) or command.disclosed_quantity,
        "validity_minutes": command.validity_minutes,
        "expires_at": None if lives is None else (context.market_at or now) + lives,
        "after_market": command.after_market,
        "triggered_at": None,
        "parameters": command.parameters,
        "pending_change": None,
        "waiting": _waiting(command, context, waits),
        "client": context.client and context.client.key,
    }


def _waiting(command: PlaceOrder, context: Context, waits: Waits | None) -> dict[str, Any] | None:
    """The row that stands for the order until it is sent; None: it is sent at once."""
    if command.after_market:
        found: dict[str, Any] = {"waits_for": "open"}
    elif waits:
        found = {"waits_for": "price"} | asdict(waits)
    else:
        return None
    return found | {"venue": context.instrument["venue"], "tick": context.instrument["tick"]}


def _scale(instrument_id: UUID, context: Context) -> InstrumentScale:
    found = context.instrument
    return InstrumentScale(
        instrument_id, found["symbol"], found["venue"], found["currency"], found["price_exp"], found["qty_exp"]
    )


async def _write(
    tx: Tx,
    order: dict[str, Any],
    children: list[dict[str, Any]],
    context: Context,
    decision: Decision,
    claim: Claim | None,
) -> datetime | None:
    """When it was written; None when the account changed meanwhile."""
    who = tx.principal
    event = {"client_order_id": order["client_order_id"], "reasons": [reason.as_dict() for reason in decision.reasons]}
    function = _WRITE_GROUP if children else _WRITE
    arguments = (
        context.account["version"],
        _json(order),
        _json([finding.as_dict() for finding in decision.findings]),
        context.session_day if _is_news(context) else None,
        context.equity,
        context.peak_equity,
        context.flows,
        _json(event),
        who.key_id if who else None,
        who.source_ip if who else None,
        who.request_id if who else None,
        who.user_id if who else None,
        who.home_tenant_id if who else None,
        who.grant_id if who else None,
        _json(claim.as_dict()) if claim else None,
        *([_json(children)] if children else []),
    )
    written_at: datetime | None
    try:
        if context.client is None:
            written_at = await tx.ask(function, order["account_id"], *arguments)
        else:  # all accounts of the client are locked: it goes alone
            written_at = await tx.fetchval(function.alone, tx.tenant_id, *arguments)
    except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
        return None
    return written_at


def _json(value: Any) -> str:
    """As PostgreSQL takes it; twice as fast as `json`, which knows no ids and times."""
    return to_json(value).decode()


def _is_news(context: Context) -> bool:
    """Whether the equity is the day's first, its highest or the highest of all, or was restated. The peak may be the
    lower of both: what is taken out lowers the day's highest by its amount, the peak by its share."""
    if context.restated or context.high_equity is None:
        return True
    return (context.equity or 0) > min(context.high_equity, context.peak_equity or 0)


def _repeat(claimed: dict[str, Any], claim: Claim | None) -> PlacedOrder:
    """The order that the same key placed before; its status is read with it."""
    if claim is None or claimed["fingerprint"] != claim.fingerprint:
        raise reused()
    return PlacedOrder(UUID(claimed["subject_id"]), OrderStatus.ACCEPTED, [], replayed=True)


def _replay(known: dict[str, Any], command: PlaceOrder) -> PlacedOrder:
    if known["fingerprint"] != command.fingerprint:
        raise conflict(
            "client_order_id_reused",
            "Another order of this account has this client_order_id; use a new one for a new order.",
            param="client_order_id",
        )
    return PlacedOrder(UUID(known["id"]), OrderStatus(known["status"]), [], replayed=True)


def _context(found: dict[str, Any]) -> Context:
    day, at, closes_at = found["session_day"], found["market_at"], found["session_closes_at"]
    return Context(
        account=found["account"],
        instrument=found["instrument"],
        tenant_status=found["tenant_status"],
        halted=found["halted"],
        market_at=datetime.fromisoformat(at) if at else None,
        session_day=date.fromisoformat(day) if day else None,
        session_open=bool(found["session_open"]),
        session_segment=found["session_segment"],
        session_closes_at=datetime.fromisoformat(closes_at) if closes_at else None,
        last_price=found["last_price"],
        price_age_s=found["price_age_s"],
        band_lower=found["band_lower"],
        band_upper=found["band_upper"],
        venue_halted=found["venue_halted"],
        segment=found["segment"],
        open_orders=found["open_orders"],
        open_buy=found["open_buy"],
        open_sell=found["open_sell"],
        book_open_buy=found["book_open_buy"],
        book_open_sell=found["book_open_sell"],
        highest_buy=found["highest_buy"],
        lowest_sell=found["lowest_sell"],
        book_quantity=found["book_quantity"],
        position_quantity=found["position_quantity"],
        available=found["available"],
        pending=found["pending"] or 0,
        gross=found["gross"],
        equity=found["equity"],
        opening_equity=found["opening_equity"],
        high_equity=found["high_equity"],
        peak_equity=found["peak_equity"],
        flows=found["flows"],
        restated=found["restated"],
        limits=effective(found["limits"]),
        rates=found["rates"] or {},
        recent=None if found["recent"] is None else tuple(map(tuple, found["recent"])),
        client=_client(found),
        native_iceberg=hides_quantity(found["account"]["broker"]),
    )


def _client(found: dict[str, Any]) -> ClientState | None:
    read: dict[str, Any] | None = found["client"]
    if read is None:
        return None
    key = {name: read.pop(name) for name in ("id", "mode", "currency", "day", "version")}
    return ClientState(key=key, limits=said_at("client", found["limits"], CLIENT_WIDE), **read)


async def request_cancel(tx: Tx, order_id: UUID, *, now: datetime) -> Order:
    """Ask for an order to be taken back: a row of work that overtakes everything else in the account's lane.

    Raises `order_not_cancellable` for an order whose life has ended. Answers the order as it is now.
    """
    del now
    order = await get_order(tx, order_id)
    if order.status in ("denied", "filled", "cancelled", "rejected", "expired", "lost"):
        raise conflict("order_not_cancellable", f"The order is {order.status}; only a working order can be cancelled.")
    if order.order_class == OrderClass.COVER and order.leg == Leg.STOP:
        raise conflict(
            "compulsory_stop",
            "The stop of a cover order stays as long as the position; POST /v1/positions/exit_all closes both.",
        )
    tx.work("execution", "order.cancel", order.account_id, {"order_id": str(order_id)}, priority=0)
    return order
