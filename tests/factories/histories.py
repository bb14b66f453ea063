"""A hand-made trading account: orders, fills, splits and their money, written as the application's role would."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account
from app.custody.ledger.service import Books
from app.infra.database import Database
from app.kernel.ids import uuid7
from app.kernel.money import Money

_ORDER = """
insert into orders (tenant_id, id, account_id, deployment_id, instrument_id, client_order_id, fingerprint, mode, broker,
    feed, side, order_type, product, validity, quantity, limit_price, filled_quantity, filled_notional, hold_minor,
    status, broker_tag)
values ($1, $2, $3, $4, $5, $6, '', 'test', 'paper', $7, $8, $9, 'delivery', 'gtc', $10, $11, $12, 0, 0, $13, '')
"""
_FILL = """
insert into fills (tenant_id, id, order_id, account_id, deployment_id, instrument_id, venue_fill_id, side, quantity,
    price, notional_minor, charges_minor, heads, realised_minor, occurred_at)
values ($1, $2, $3, $4, $5, $6, 'f1', $7, $8, $9, $10, $11, '{}', 0, $12)
"""
_POSITION = """
insert into positions (tenant_id, id, account_id, book_id, instrument_id, product, quantity, cost_minor, realised_minor,
    margin_minor, version)
values ($1, $2, $3, $4, $5, 'delivery', $6, $7, 0, 0, 1)
on conflict (tenant_id, account_id, book_id, instrument_id, product) do update set quantity = excluded.quantity
returning id
"""
_ACTION = """
insert into position_actions (tenant_id, id, position_id, account_id, book_id, instrument_id, action_id, kind,
    numerator, denominator, quantity_before, quantity_after, cash_minor, effective_at)
values ($1, $2, $3, $4, $5, $6, $7, 'split', $8, $9, $10, $11, $12, $13)
"""
_DECISION = """
insert into risk_decisions (tenant_id, id, account_id, verdict, findings) values ($1, $2, $3, $4, $5)
"""
_RESTING = """
insert into paper_orders (tenant_id, id, account_id, feed, instrument_id, venue, side, order_type, validity, remaining,
    tick, slippage_bps, arrived_after)
values ($1, $2, $3, $4, $5, 'XNAS', 'buy', 'limit', 'gtc', 1, 100, 5, '0-0')
"""


@dataclass(frozen=True, slots=True)
class History:
    """One USD account on `feed` whose history is written row by row."""

    database: Database
    tenant_id: UUID
    account_id: UUID
    feed: str
    deployment_id: UUID | None = None

    @property
    def book_id(self) -> UUID:
        return self.deployment_id or self.account_id

    async def call(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """One statement in a transaction of the tenant's own."""
        async with self.database.pool.acquire() as connection, connection.transaction():
            await connection.execute("select set_config('app.tenant_id', $1, true)", str(self.tenant_id))
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            return rows

    async def order(
        self, instrument_id: UUID, status: str, *, side: str = "buy", quantity: int = 1, resting: bool = False
    ) -> UUID:
        """An order of `status`; `resting` puts it into the paper venue's book."""
        order_id = uuid7()
        kind, limit = ("limit", 10_000) if resting else ("market", None)
        filled = quantity if status == "filled" else 0
        if status not in ("accepted", "denied"):
            await self.call(_DECISION, self.tenant_id, order_id, self.account_id, "approved", "[]")
        await self.call(
            _ORDER, self.tenant_id, order_id, self.account_id, self.deployment_id, instrument_id, order_id.hex,
            self.feed, side, kind, quantity, limit, filled, status,
        )  # fmt: skip
        if resting:
            await self.call(_RESTING, self.tenant_id, order_id, self.account_id, self.feed, instrument_id)
        return order_id

    async def denial(self, instrument_id: UUID, findings: list[dict[str, Any]]) -> None:
        order_id = await self.order(instrument_id, "denied")
        await self.call(_DECISION, self.tenant_id, order_id, self.account_id, "denied", json.dumps(findings))

    async def fill(
        self,
        instrument_id: UUID,
        side: str,
        quantity: int,
        price: int,
        at: datetime,
        *,
        charges: int = 0,
        held: int | None = None,
    ) -> None:
        """A filled order: its fill, its money (price at four decimals, whole units), and the position it leaves."""
        order_id, fill_id = await self.order(instrument_id, "filled", side=side, quantity=quantity), uuid7()
        notional = quantity * price // 100
        await self.call(
            _FILL, self.tenant_id, fill_id, order_id, self.account_id, self.deployment_id, instrument_id, side,
            quantity, price, notional, charges, at,
        )  # fmt: skip
        cash = -notional if side == "buy" else notional
        heads = "jsonb_build_object('brokerage', $4::bigint)"
        settle = f"select * from ledger_settle_fill($1, $2, 'USD', $3, {heads}, null, null, $5, '{{}}')"
        await self.call(settle, fill_id, self.account_id, cash, charges, at)
        await self.position(instrument_id, quantity if held is None else held)

    async def position(self, instrument_id: UUID, quantity: int) -> UUID:
        rows = await self.call(
            _POSITION, self.tenant_id, uuid7(), self.account_id, self.book_id, instrument_id, quantity, 0
        )
        found: UUID = rows[0]["id"]
        return found

    async def split(self, instrument_id: UUID, ratio: tuple[int, int], before: int, after: int, at: datetime) -> None:
        """A split of `ratio` new for old units; what it leaves is `after`, without cash for a fraction."""
        position_id = await self.position(instrument_id, after)
        await self.call(
            _ACTION, self.tenant_id, uuid7(), position_id, self.account_id, self.book_id, instrument_id, uuid7(),
            *ratio, before, after, 0, at,
        )  # fmt: skip


async def open_history(
    database: Database,
    tenant_id: UUID,
    *,
    opening: int,
    at: datetime,
    feed: str = "replay",
    deployment_id: UUID | None = None,
) -> History:
    """A new account with `opening` cents, funded at `at`."""
    asked = NewAccount(name="history", currency="USD", opening_balance=Money(opening, "USD"), feed=feed)
    async with database.tx(tenant_id) as tx:
        account = await create_account(tx, asked, books=Books(), now=at)
    return History(database, tenant_id, account.id, feed, deployment_id)
