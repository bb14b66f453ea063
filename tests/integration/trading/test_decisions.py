"""The database refuses what no rule has approved: raw statements of the application's own role."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import pytest

from app.kernel.ids import uuid7
from app.kernel.orders import OrderStatus
from tests.integration.trading.conftest import Venue

SENT = sorted(set(OrderStatus) - {OrderStatus.ACCEPTED, OrderStatus.DENIED, OrderStatus.CANCELLED})


async def run(venue: Venue, *statements: tuple[str, Sequence[object]]) -> str:
    """In one transaction of the role `mandi_app`: done, or the error's code."""
    async with venue.app.database.pool.acquire() as connection:
        try:
            async with connection.transaction():
                await connection.execute("select set_config('app.tenant_id', $1, true)", str(venue.tenant_id))
                for sql, arguments in statements:
                    await connection.execute(sql, *arguments)
        except asyncpg.PostgresError as error:
            return str(error.sqlstate)
    return "done"


def move(order_id: UUID, status: str) -> tuple[str, Sequence[object]]:
    filled = ", filled_quantity = quantity" if status == "filled" else ""
    return f"update orders set status = $2{filled} where id = $1", (order_id, status)


def approve(venue: Venue, order_id: UUID) -> tuple[str, Sequence[object]]:
    sql = "insert into risk_decisions (tenant_id, id, account_id, verdict, findings) values ($1, $2, $3, $4, '[]')"
    return sql, (venue.tenant_id, order_id, venue.account_id, "approved")


def copied(order_id: UUID, copy: UUID, status: str) -> tuple[str, Sequence[object]]:
    """A second order like the first, with no decision of its own."""
    sql = """
        insert into orders select (jsonb_populate_record(o, jsonb_build_object(
            'id', $2::uuid, 'client_order_id', $2::text, 'status', $3::text,
            'filled_quantity', case when $3 = 'filled' then o.quantity else 0 end))).*
        from orders o where o.id = $1
    """
    return sql, (order_id, copy, status)


async def _undecided(venue: Venue) -> UUID:
    placed, copy = await venue.order(), uuid7()
    assert await run(venue, copied(placed.id, copy, "accepted")) == "done"
    return copy


@pytest.mark.parametrize("status", SENT)
async def test_an_order_without_a_decision_leaves_accepted_for_nothing_but_its_end(venue: Venue, status: str) -> None:
    order_id = await _undecided(venue)
    assert await run(venue, move(order_id, status)) == "MR001"
    assert await venue.status(order_id) == "accepted"


async def test_what_was_approved_may_be_sent_and_what_was_not_may_be_taken_back(venue: Venue) -> None:
    placed = await venue.order()
    assert await run(venue, move(placed.id, "submitting")) == "done"
    assert await run(venue, move(await _undecided(venue), "cancelled")) == "done"


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.DENIED}))
async def test_a_denied_order_stays_denied(venue: Venue, status: str) -> None:
    denied = await venue.order(quantity=100_000)
    assert denied.status is OrderStatus.DENIED
    assert await run(venue, move(denied.id, status)) == "MR001"


async def test_nobody_forges_a_decision_for_a_denied_order(venue: Venue) -> None:
    denied = await venue.order(quantity=100_000)
    update = "update risk_decisions set verdict = 'approved' where id = $1"
    delete = "delete from risk_decisions where id = $1"
    assert await run(venue, approve(venue, denied.id), move(denied.id, "submitting")) == "23505"
    assert await run(venue, (update, (denied.id,))) == "42501"
    assert await run(venue, (delete, (denied.id,))) == "42501"
    assert await run(venue, ("truncate risk_decisions", ())) == "42501"
    assert await run(venue, ("update orders set id = uuidv7() where id = $1", (denied.id,))) == "42501"
    assert await run(venue, ("delete from orders where id = $1", (denied.id,))) == "42501"
    assert await run(venue, ("alter table orders disable trigger all", ())) == "42501"
    assert await run(venue, ("set session_replication_role = replica", ())) == "42501"


@pytest.mark.parametrize("status", [*SENT, "cancelled"])
async def test_an_orders_life_begins_decided(venue: Venue, status: str) -> None:
    placed = await venue.order()
    assert await run(venue, copied(placed.id, uuid7(), status)) == "MR001"


async def test_an_order_that_was_taken_back_undecided_is_not_revived(venue: Venue) -> None:
    order_id = await _undecided(venue)
    assert await run(venue, move(order_id, "cancelled"), move(order_id, "submitting")) == "MR001"


async def test_anothers_decision_approves_nothing(venue: Venue) -> None:
    order_id = await _undecided(venue)
    async with venue.app.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(venue.tenant_id))
        found = await connection.fetchval(
            "select risk_approved($1, d.id, $3) from risk_decisions d where d.id <> $2 limit 1",
            venue.tenant_id,
            order_id,
            UUID(int=5),
        )
    assert found is False, "a decision is of one account"
