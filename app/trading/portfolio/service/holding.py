"""What is held, and what a corporate action makes of it: on all that was traded before, settled or not."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, func, select

from app.custody.accounts.service import get_account
from app.custody.ledger.service import pay_cash_in_lieu, pay_dividend, release_margin
from app.engine.apply import Applied, Position, Scale, apply_dividend, apply_split
from app.infra.database import Tx
from app.kernel.ids import uuid7
from app.kernel.instrument import InstrumentScale
from app.kernel.money import Money, currency_exponent, format_scaled, notional_minor
from app.market.instruments.service import scales_of
from app.trading.portfolio.tables import AppliedAction, PositionAction, PositionRow
from app.web.cursors import Cursor, Slice

_Position = cast(Any, PositionRow)
_LAST = "select price from market_last_price($1, $2)"
_LOCK = text("SELECT accounts_lock(cast(:account AS uuid))")
_APPLY = text(
    "INSERT INTO applied_actions (tenant_id, id, feed, action_id) VALUES (:tenant, :id, :feed, :action) "
    "ON CONFLICT DO NOTHING RETURNING 1"
)
_OWED = text("SELECT portfolio_owe(cast(:fills AS jsonb))")
_RESTATE = text(
    "SELECT portfolio_restate(cast(:action AS uuid), cast(:account AS uuid), cast(:instrument AS uuid), :numerator, "
    ":denominator, cast(:at AS timestamptz))"
)


@dataclass(frozen=True, slots=True)
class Holding:
    """A position with its instrument and its value at the feed's last price (None: no price yet)."""

    row: PositionRow
    scale: InstrumentScale
    last_price: int | None
    value_minor: int | None


async def list_positions(
    tx: Tx, cursor: Cursor, *, account_id: UUID | None = None, deployment_id: UUID | None = None
) -> Slice[Holding]:
    """Open positions, newest first, valued at last prices."""
    statement = select(PositionRow).where(col(PositionRow.tenant_id) == tx.tenant_id, _Position.quantity != 0)
    for column, wanted in ((_Position.account_id, account_id), (_Position.book_id, deployment_id)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    page: Slice[PositionRow] = cursor.cut((await tx.scalars(cursor.apply(cast(Any, statement), _Position.id))).all())
    scales = await scales_of(tx, [row.instrument_id for row in page.rows])
    holdings = [await _valued(tx, row, scales[row.instrument_id]) for row in page.rows]
    return Slice(holdings, page.has_more)


async def count_open(tx: Tx) -> int:
    """How many positions of the transaction's tenant are not flat, in both modes."""
    open_ones = (
        select(func.count())
        .select_from(PositionRow)
        .where(col(PositionRow.tenant_id) == tx.tenant_id, col(PositionRow.quantity) != 0)
    )
    return int((await tx.scalars(open_ones)).one())


async def _valued(tx: Tx, row: PositionRow, scale: InstrumentScale) -> Holding:
    account = await get_account(tx, row.account_id)
    last = await tx.fetchval(_LAST, account.feed, row.instrument_id)
    money = currency_exponent(scale.currency)
    value = (
        None
        if last is None
        else notional_minor(row.quantity, last, qty_exp=scale.qty_exp, price_exp=scale.price_exp, money_exp=money)
    )
    return Holding(row, scale, last, value)


async def split_positions(
    tx: Tx,
    *,
    feed: str,
    instrument_id: UUID,
    action_id: UUID,
    numerator: int,
    denominator: int,
    at: datetime,
) -> int:
    """Restate the tenant's positions on `feed` in a split instrument, once; a fraction is paid in cash.

    The feed has already restated its last price, so that is the price a fraction is worth. Returns how many changed.
    """
    if not await _applies(tx, feed, action_id):
        return 0
    changed = 0
    accounts: set[UUID] = set()
    async for row, currency, scale in _untouched(tx, feed, instrument_id, action_id):
        applied = apply_split(
            Position(row.quantity, row.cost_minor, row.realised_minor),
            numerator=numerator,
            denominator=denominator,
            price=await tx.fetchval(_LAST, feed, instrument_id) or 0,
            scale=scale,
        )
        ratio = {"numerator": numerator, "denominator": denominator}
        tx.add(_note(row, action_id, "split", applied, at, **ratio))
        await pay_cash_in_lieu(
            tx,
            row.account_id,
            Money(applied.cash, currency),
            idempotency_key=f"split:{action_id}:{row.id}",
            effective_at=at,
            details={"action_id": str(action_id)},
        )
        await _owed(tx, row, applied.cash, at)
        if row.margin_minor and applied.position.is_flat:
            blocked, gone = Money(row.margin_minor, currency), {"action_id": str(action_id)}
            await release_margin(tx, row.account_id, blocked, cost=row.cost_minor, effective_at=at, details=gone)
            row.margin_minor = 0
        _restate(row, applied.position)
        tx.emit("position.split", row.id, ratio, account_id=row.account_id)
        accounts.add(row.account_id)
        changed += 1
    await tx.flush()
    for account_id in sorted(accounts):
        where = {"action": action_id, "account": account_id, "instrument": instrument_id, "at": at}
        await tx.execute(_RESTATE, where | ratio)
    return changed


async def pay_dividends(tx: Tx, *, feed: str, instrument_id: UUID, action_id: UUID, amount: int, at: datetime) -> int:
    """Pay a cash dividend of `amount` per unit (at `price_exp`) on the tenant's positions on `feed`, once.

    Returns how many were paid.
    """
    if not await _applies(tx, feed, action_id):
        return 0
    paid = 0
    async for row, currency, scale in _untouched(tx, feed, instrument_id, action_id):
        held = Position(row.quantity, row.cost_minor, row.realised_minor)
        applied = apply_dividend(held, amount=amount, scale=scale)
        tx.add(_note(row, action_id, "dividend", applied, at))
        await pay_dividend(
            tx,
            row.account_id,
            Money(applied.cash, currency),
            idempotency_key=f"dividend:{action_id}:{row.id}",
            effective_at=at,
            details={"action_id": str(action_id)},
        )
        await _owed(tx, row, applied.cash, at)
        cash = format_scaled(applied.cash, currency_exponent(currency))
        tx.emit("position.dividend", row.id, {"cash": cash}, account_id=row.account_id)
        paid += 1
    return paid


async def was_applied(tx: Tx, feed: str, action_id: UUID) -> bool:
    """Whether the feed has brought the action to the tenant before."""
    statement = select(AppliedAction).where(
        col(AppliedAction.tenant_id) == tx.tenant_id,
        col(AppliedAction.feed) == feed,
        col(AppliedAction.action_id) == action_id,
    )
    return (await tx.scalars(statement)).first() is not None


async def _applies(tx: Tx, feed: str, action_id: UUID) -> bool:
    """Whether this is the first time. Another transaction that applies the action is waited for."""
    what = {"tenant": tx.tenant_id, "id": uuid7(), "feed": feed, "action": action_id}
    return (await tx.execute(_APPLY, what)).first() is not None


async def _owed(tx: Tx, row: PositionRow, cash: int, at: datetime) -> None:
    """The client has the cash at once; it comes to the bank when the day's trades settle."""
    owed = {
        "account": str(row.account_id),
        "instrument": str(row.instrument_id),
        "cash": cash,
        "charges": cash,  # nothing of it is left that the client would wait for
        "signed": 0,
        "at": at.isoformat(),
    }
    if cash:
        await tx.execute(_OWED, {"fills": json.dumps([owed])})


async def _untouched(
    tx: Tx, feed: str, instrument_id: UUID, action_id: UUID
) -> AsyncIterator[tuple[PositionRow, str, Scale]]:
    """The tenant's open positions of accounts on `feed` that the action has not changed yet, currency and scale."""
    for account_id in await _holders(tx, instrument_id):
        await tx.execute(_LOCK, {"account": account_id})  # as fills and settlements do, before any row of the ledger
    for row in await _held_rows(tx, instrument_id):
        account = await get_account(tx, row.account_id)
        if account.feed != feed or await _is_applied(tx, row.id, action_id):
            continue
        one = (await scales_of(tx, [instrument_id]))[instrument_id]
        yield row, account.currency, Scale(one.price_exp, one.qty_exp, currency_exponent(account.currency))


def _note(row: PositionRow, action_id: UUID, kind: str, applied: Applied, at: datetime, **ratio: Any) -> PositionAction:
    return PositionAction(
        tenant_id=row.tenant_id,
        position_id=row.id,
        account_id=row.account_id,
        book_id=row.book_id,
        instrument_id=row.instrument_id,
        action_id=action_id,
        kind=kind,
        quantity_before=row.quantity,
        quantity_after=applied.position.quantity,
        cash_minor=applied.cash,
        effective_at=at,
        **ratio,
    )


async def _holders(tx: Tx, instrument_id: UUID) -> list[UUID]:
    statement = select(_Position.account_id).where(
        col(PositionRow.tenant_id) == tx.tenant_id, _Position.instrument_id == instrument_id, _Position.quantity != 0
    )
    return list((await tx.scalars(statement.distinct().order_by(_Position.account_id))).all())


async def _held_rows(tx: Tx, instrument_id: UUID) -> list[PositionRow]:
    statement = select(PositionRow).where(
        col(PositionRow.tenant_id) == tx.tenant_id, _Position.instrument_id == instrument_id, _Position.quantity != 0
    )
    return list((await tx.scalars(statement.with_for_update(key_share=True))).all())


async def _is_applied(tx: Tx, position_id: UUID, action_id: UUID) -> bool:
    statement = select(PositionAction).where(
        col(PositionAction.tenant_id) == tx.tenant_id,
        col(PositionAction.position_id) == position_id,
        col(PositionAction.action_id) == action_id,
    )
    return (await tx.scalars(statement)).first() is not None


def _restate(row: PositionRow, position: Position) -> None:
    row.quantity, row.cost_minor, row.realised_minor = position.quantity, position.cost, position.realised
    row.version += 1
