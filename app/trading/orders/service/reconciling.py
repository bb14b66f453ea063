"""Decides what a broker's book of the day means for ours: its word is taken, each difference is told, and an order that
is not ours is told and left alone.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from app.infra.outages import is_outage
from app.kernel.errors import DomainError
from app.kernel.money import format_scaled, parse_scaled
from app.kernel.orders import OrderStatus
from app.kernel.times import format_time
from app.trading.brokers.ports import Broker, BrokerAccount, BrokerOrder, NoAnswer, Report, VenueStatus
from app.trading.orders.service.adopting import ENDS, adopt
from app.trading.orders.service.executing import Desk
from app.trading.orders.service.outcomes import ask, broker_order, move, read_state
from app.trading.orders.service.resolving import ENDED, session_over

log = structlog.get_logger(__name__)
_OURS = "select * from orders_at_broker($1, $2, $3)"
MISSING = "the broker no longer shows the order"
_WRONG = (asyncpg.PostgresError, DomainError, RuntimeError, ValueError)
"""One order that cannot be right, cannot be read or never holds still stops no other: the next read has it again."""


@dataclass(slots=True)
class Book:
    """One account's book at its broker, as far as it was read: `known` reports are recorded and need no second look."""

    account: BrokerAccount
    broker: Broker
    known: dict[str, Report] = field(default_factory=dict)
    working: int = 0
    """Orders of ours that had not ended when it was read last."""


async def read_book(desk: Desk, book: Book, *, differences: bool) -> NoAnswer | None:
    """Read the broker's book once and record what is new there. None when it was read; else the broker's excuse.

    `differences`: tell what differs, as after a restart or a lost connection; else news are only news. Ours are read
    first: an order that was sent since is not missed there.
    """
    account, pool = book.account, desk.pool
    ours = _by_tag(await pool.fetch(_OURS, account.tenant_id, account.account_id, None))
    book.working = len(ours)
    told = await ask(book.broker.orders(account), account.account_id)
    if not isinstance(told, Sequence):
        return told
    now = desk.clock()
    news = [report for report in told if book.known.get(report.venue_order_id) != report]
    strangers = [report.tag for report in news if report.tag is not None and report.tag not in ours]
    if strangers:
        ours = _by_tag(await pool.fetch(_OURS, account.tenant_id, account.account_id, strangers)) | ours
    for report in news:
        row = ours.get(report.tag or "")
        try:
            if await _take(desk, book, report, row, now, differences=differences):
                book.known[report.venue_order_id] = report
        except _WRONG as error:
            if is_outage(error):
                raise
            subject = {"account": str(account.account_id), "order": row and str(row["id"])}
            log.error("reconciling.failed", **subject, venue_order_id=report.venue_order_id, exc_info=error)
    await _miss(desk, book, ours, {report.tag for report in told}, now)
    return None


def _by_tag(rows: Iterable[asyncpg.Record]) -> dict[str, asyncpg.Record]:
    return {row["tag"]: row for row in rows}


async def _take(
    desk: Desk, book: Book, report: Report, row: asyncpg.Record | None, now: datetime, *, differences: bool
) -> bool:
    """Whether everything that the report says is recorded."""
    account = book.account
    if row is None or row["venue_order_id"] not in (None, report.venue_order_id):  # a second order under one tag
        foreign = json.dumps(_foreign(report))
        if await desk.pool.fetchval(
            "select orders_note_foreign($1, $2, $3::jsonb, $4)", account.tenant_id, account.account_id, foreign, now
        ):
            log.warning("order.foreign", account=str(account.account_id), venue_order_id=report.venue_order_id)
        return True
    order = await _order(desk, account, row["id"])
    buried = row["status"] in ("cancelled", "rejected", "expired") and not report.status.ended
    if buried:  # it was read before that end, or it lives: only the broker knows
        again = await ask(book.broker.find(order), order.order_id)
        if not isinstance(again, Report):
            return False
        report, buried = again, not again.status.ended
    if (differences or buried or row["status"] == OrderStatus.LOST) and (difference := _difference(row, report)):
        await _tell(desk.pool, account, row["id"], difference)
    return await adopt(desk.pool, order, report, received_at=now, revive=buried)


def _foreign(report: Report) -> dict[str, Any]:
    told = {
        "venue_order_id": report.venue_order_id,
        "tag": report.tag,
        "symbol": report.symbol,
        "side": report.side,
        "quantity": report.quantity,
        "filled": report.filled,
        "status": report.status,
        "venue_at": report.at and format_time(report.at),
    }
    return {name: value for name, value in told.items() if value is not None}


def _difference(row: Mapping[str, Any], report: Report) -> dict[str, Any] | None:
    """What the books say and the broker does not. An order that is just being sent differs in nothing yet."""
    filled = parse_scaled(report.filled, row["qty_exp"], param="filled")
    if report.status is VenueStatus.FILLED:
        expected = {OrderStatus.FILLED}
    elif report.status.ended:
        expected = {ENDS[report.status][0]}
    else:
        expected = {OrderStatus.PARTIALLY_FILLED if row["filled_quantity"] else OrderStatus.OPEN}
    if row["status"] == OrderStatus.SUBMITTING or (row["status"] in expected and row["filled_quantity"] == filled):
        return None
    difference = {
        "status": row["status"],
        "broker_status": report.status,
        "filled": format_scaled(row["filled_quantity"], row["qty_exp"]),
        "broker_filled": format_scaled(filled, row["qty_exp"]),
    }
    return difference | ({"venue_at": format_time(report.at)} if report.at else {})


async def _miss(
    desk: Desk, book: Book, ours: Mapping[str, asyncpg.Record], shown: set[str | None], now: datetime
) -> None:
    """What the broker had and shows no longer, for longer than it ever hid one: its fate is unknown again, unless its
    session is over."""
    for tag, row in ours.items():
        if tag in shown or row["status"] not in ("open", "partially_filled"):
            continue
        if now - row["updated_at"] < desk.deadline:
            continue
        filled = format_scaled(row["filled_quantity"], row["qty_exp"])
        await _tell(
            desk.pool, book.account, row["id"], {"status": row["status"], "broker_status": "missing", "filled": filled}
        )
        book.known = {name: report for name, report in book.known.items() if report.tag != tag}
        order = await _order(desk, book.account, row["id"])
        over = await session_over(desk.pool, order)
        to, reason = (OrderStatus.EXPIRED, ENDED) if over else (OrderStatus.UNKNOWN, MISSING)
        await move(desk.pool, order, to, frm=[row["status"]], reason=reason, received_at=now)


async def _tell(pool: asyncpg.Pool, account: BrokerAccount, order_id: UUID, difference: Mapping[str, Any]) -> None:
    await pool.execute(
        "select orders_reconciled($1, $2, $3, $4::jsonb)",
        account.tenant_id,
        order_id,
        account.account_id,
        json.dumps(difference),
    )


async def _order(desk: Desk, account: BrokerAccount, order_id: UUID) -> BrokerOrder:
    state = await read_state(desk.pool, account.tenant_id, order_id)
    assert state is not None  # it was just read, and orders are never deleted
    return broker_order(account.tenant_id, state)
