"""Record fills: gather orders and positions, reduce and charge, then write fills, orders, positions, ledger at once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from pydantic_core import from_json, to_json

from app.engine.apply import FLAT, Position, Scale, apply_fill
from app.engine.schedule import charges, schedule_named
from app.infra.waiting import few_at_once
from app.kernel.ids import uuid7
from app.kernel.money import currency_exponent, format_scaled, format_trimmed
from app.kernel.orders import Fill, OrderStatus, Product, Side
from app.kernel.times import format_time
from app.trading.orders.domain import margin_of

ATTEMPTS = 5
TOGETHER = 50
"""Fills of one transaction: their accounts are locked as long."""

AT_ONCE = 2
"""Such transactions at a time: they are work for the database, not waiting."""

Fills = Mapping[UUID, Sequence[Fill]]
"""By tenant, in the order in which they happened."""

SetOff = Mapping[UUID, int]
"""Of stops that were resting until then, by order id, the price that set them off; it is told with their fill."""

_CONTEXTS = "select * from orders_fill_contexts_each($1, $2)"
_RECORD = "select * from orders_record_fills_each($1, $2::jsonb[], $3::jsonb[])"
_NO_STOPS: SetOff = MappingProxyType({})
_MOVED_ON = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
log = structlog.get_logger(__name__)


async def record_fill(pool: asyncpg.Pool, tenant_id: UUID, fill: Fill, *, set_off: SetOff = _NO_STOPS) -> str:
    """`recorded`, `replayed` (the same venue fill id was there) or `gone` (the paper venue had let the order go).

    `fill.charges_minor` is ignored: the account's charge schedule says what this execution costs.
    """
    for _ in range(ATTEMPTS):
        try:
            (answer,) = (await _record(pool, {tenant_id: [fill]}, set_off))[tenant_id]
        except _MOVED_ON:
            continue
        if answer != "conflict":
            return answer
    raise RuntimeError(f"order {fill.order_id} never held still while its fill was recorded")


async def record_fills(pool: asyncpg.Pool, fills: Fills, *, set_off: SetOff = _NO_STOPS) -> dict[UUID, list[str]]:
    """What `record_fill` says of each, many in one transaction."""
    said: defaultdict[UUID, list[str]] = defaultdict(list)
    turn = 0
    while left := {tenant_id: theirs[turn:] for tenant_id, theirs in fills.items() if len(theirs) > turn}:
        for tenant_id, answers in (await _in_batches(pool, _batches(left), set_off)).items():
            said[tenant_id] += answers
        turn += TOGETHER
    return said


async def _in_batches(pool: asyncpg.Pool, batches: Sequence[Fills], set_off: SetOff) -> dict[UUID, list[str]]:
    """What is said of all; when one raises, it does so after the others are recorded."""
    said: dict[UUID, list[str]] = {}
    raised: list[BaseException] = []
    for answers in await few_at_once(AT_ONCE, [partial(_together, pool, batch, set_off) for batch in batches]):
        if isinstance(answers, BaseException):
            raised.append(answers)
        else:
            said |= answers
    if raised:
        raise raised[0]
    return said


def _batches(fills: Fills) -> list[dict[UUID, Sequence[Fill]]]:
    """The first `TOGETHER` of each tenant: those of many in one batch while it holds no more than that."""
    batches: list[dict[UUID, Sequence[Fill]]] = []
    room = 0
    for tenant_id in sorted(fills):
        theirs = fills[tenant_id][:TOGETHER]
        if len(theirs) > room:
            batches.append({})
            room = TOGETHER
        batches[-1][tenant_id] = theirs
        room -= len(theirs)
    return batches


async def _together(pool: asyncpg.Pool, batch: Fills, set_off: SetOff) -> dict[UUID, list[str]]:
    """One tenant whose fills cannot be recorded stops no other, and one fill no other of its tenant's."""
    try:
        answers = await _record(pool, batch, set_off)
    except asyncpg.PostgresError as error:
        if not isinstance(error, _MOVED_ON):
            log.error("fills.not_together", tenants=[str(tenant) for tenant in batch], exc_info=error)
        if len(batch) > 1:
            return await _in_batches(pool, [{tenant: theirs} for tenant, theirs in batch.items()], set_off)
        answers = {tenant: ["conflict"] * len(theirs) for tenant, theirs in batch.items()}
    return {
        tenant: [
            await record_fill(pool, tenant, fill, set_off=set_off) if answer == "conflict" else answer
            for fill, answer in zip(theirs, answers[tenant], strict=True)
        ]
        for tenant, theirs in batch.items()
    }


async def _record(pool: asyncpg.Pool, batch: Fills, set_off: SetOff) -> dict[UUID, Sequence[str]]:
    asked = {fill.order_id: tenant_id for tenant_id, fills in batch.items() for fill in fills}
    rows = await pool.fetch(_CONTEXTS, list(asked.values()), list(asked))
    orders = {context["id"]: context for context in (from_json(row[0]) for row in rows)}
    written = [_written(fills, orders, set_off) for fills in batch.values()]
    answers = await pool.fetch(_RECORD, list(batch), [fills for fills, _ in written], [books for _, books in written])
    return {row["tenant_id"]: row["said"] for row in answers}


def _written(fills: Sequence[Fill], orders: Mapping[str, dict[str, Any]], set_off: SetOff) -> tuple[str, str]:
    """What is to be written of one tenant's fills, and of the positions that they lead to; both are JSON."""
    books: dict[tuple[str, str, str], _Book] = {}
    writes = []
    for fill in fills:
        order = orders[str(fill.order_id)]
        name = order["book"], order["instrument"], order["product"]
        book = books.get(name)
        if book is None:
            held, margin = _position(order), order["margin"] or 0
            books[name] = book = _Book(order["account"], *name, order["version"], held, margin)
        writes.append(_write(fill, order, book) | {"set_off": set_off.get(fill.order_id)})
    return to_json(writes).decode(), to_json([book.as_dict() for book in books.values()]).decode()


@dataclass(slots=True)
class _Book:
    """A position on its way through several fills; `version` is what was read of it, None when there was none;
    `margin` is what it blocks."""

    account: str
    book: str
    instrument: str
    product: str
    version: int | None
    position: Position
    margin: int

    def as_dict(self) -> dict[str, Any]:
        held = self.position
        return {
            "account": self.account,
            "book": self.book,
            "instrument": self.instrument,
            "product": self.product,
            "version": self.version,
            "quantity": held.quantity,
            "cost": held.cost,
            "realised": held.realised,
            "margin": self.margin,
        }


def _position(order: dict[str, Any]) -> Position:
    return FLAT if order["version"] is None else Position(order["quantity"], order["cost"], order["realised"])


def _write(fill: Fill, order: dict[str, Any], book: _Book) -> dict[str, Any]:
    """What is to be written of a fill; `order` and `book` become what they are after it."""
    money = currency_exponent(order["currency"])
    scale = Scale(order["price_exp"], order["qty_exp"], money)
    before = book.position
    applied = apply_fill(before, side=fill.side, quantity=fill.quantity, price=fill.price, scale=scale)
    book.position, notional = applied.position, abs(applied.cash)
    fees = charges(
        schedule_named(order["charge_schedule"]),
        notional=notional,
        quantity=fill.quantity,
        side=fill.side,
        product=Product(order["product"]),
        on=fill.occurred_at.date(),
        qty_exp=order["qty_exp"],
    )
    fill_id, at, heads = str(uuid7()), fill.occurred_at.isoformat(), fees.as_dict()
    row = {
        "id": fill_id,
        "order_id": order["id"],
        "account_id": order["account"],
        "deployment_id": order["deployment_id"],
        "instrument_id": order["instrument"],
        "venue_fill_id": fill.venue_fill_id,
        "side": fill.side,
        "quantity": fill.quantity,
        "price": fill.price,
        "notional_minor": notional,
        "charges_minor": fees.total,
        "heads": heads,
        "realised_minor": book.position.realised - before.realised,
        "occurred_at": at,
    }
    event = {
        "quantity": format_scaled(fill.quantity, order["qty_exp"]),
        "price": format_trimmed(fill.price, order["price_exp"]),
        "charges": format_scaled(fees.total, money),
        "currency": order["currency"],
        "market_at": format_time(fill.occurred_at),
    }
    details = {
        "order_id": order["id"],
        "instrument_id": order["instrument"],
        "side": fill.side,
        "quantity": fill.quantity,
        "price": fill.price,
        "charges": fees.total,
    }
    last = order["filled"] + fill.quantity == order["total"]
    written = {
        "row": row,
        "filled_before": order["filled"],
        "status": OrderStatus.FILLED if last else OrderStatus.PARTIALLY_FILLED,
        "event": event,
        "fill": fill_id,
        "account": order["account"],
        "instrument": order["instrument"],
        "currency": order["currency"],
        "cash": notional if fill.side is Side.SELL else -notional,
        "charges": fees.total,
        "heads": heads,
        "signed": fill.side.sign * fill.quantity,
        "hold": order["id"] if order["holds"] else None,
        "release": None if last else order["hold"] * fill.quantity // order["total"],
        "at": at,
        "details": details,
    }
    order["filled"] += fill.quantity
    return written | _on_margin(order, book, before)


def _on_margin(order: dict[str, Any], book: _Book, before: Position) -> dict[str, int]:
    """What an intraday position blocks more after a fill than before, and costs more; below zero: less."""
    if order["product"] != Product.INTRADAY:
        return {}
    blocked = book.margin
    book.margin = margin_of(book.position.cost, order["venue"])
    return {"margin": book.margin - blocked, "financed": book.position.cost - before.cost}
