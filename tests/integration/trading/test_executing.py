"""What the order path does with a broker's answers. The broker here is a script: its answers are the test's."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.infra.work.runner import Item
from app.kernel.orders import Fill, OrderType, Side
from app.trading.brokers.ports import Accepted, BrokerOrder, Outcome, Rejected, Unknown
from app.trading.orders.service import request_cancel
from app.trading.orders.service.executing import cancel, submit
from app.trading.orders.service.filling import record_fill
from tests.integration.trading.conftest import AT, PRICE, Venue


@dataclass
class Scripted:
    """Answers each call with the next of `answers`, an exception by raising it; remembers what it was asked."""

    answers: list[Outcome | Exception]
    asked: list[str] = field(default_factory=list)

    async def submit(self, order: BrokerOrder) -> Outcome:
        return self._answer("submit")

    async def cancel(self, order: BrokerOrder) -> Outcome:
        return self._answer("cancel")

    async def find(self, order: BrokerOrder) -> Outcome:
        return self._answer("find")

    def _answer(self, call: str) -> Outcome:
        self.asked.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def item(venue: Venue, order_id: UUID, kind: str = "order.submit") -> Item:
    return Item(venue.tenant_id, uuid4(), venue.account_id, kind, {"order_id": str(order_id)}, attempts=1, fence=1)


async def _sent(venue: Venue, *answers: Outcome | Exception) -> tuple[UUID, Scripted]:
    """A limit order, sent to a broker that answers so."""
    placed = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE)
    script = Scripted(list(answers))
    await submit(venue.app.database.pool, {"paper": script}, item(venue, placed.id))
    return placed.id, script


async def _held(venue: Venue) -> int:
    return int(
        (await venue.rows("select pending_out from ledger_accounts where kind = 'client_cash'"))[0]["pending_out"]
    )


@pytest.mark.parametrize(
    ("answer", "status", "held"),
    [
        (Accepted("V1"), "open", True),
        (Rejected("not today"), "rejected", False),
        (Unknown("no answer"), "unknown", True),
        (ConnectionError("gone"), "unknown", True),
    ],
)
async def test_each_answer_has_its_status_and_only_a_sure_no_gives_the_hold_back(
    venue: Venue, answer: Outcome | Exception, status: str, held: bool
) -> None:
    order_id, script = await _sent(venue, answer)
    assert (await venue.status(order_id), script.asked) == (status, ["submit"])
    assert (await _held(venue) > 0) is held
    await venue.is_sound()


@pytest.mark.parametrize("answer", [Accepted("V1"), Rejected("no"), Unknown("?")])
async def test_work_that_is_run_again_sends_nothing_again(venue: Venue, answer: Outcome) -> None:
    order_id, _ = await _sent(venue, answer)
    status, again = await venue.status(order_id), Scripted([])
    await submit(venue.app.database.pool, {"paper": again}, item(venue, order_id))
    assert (again.asked, await venue.status(order_id)) == ([], status)


@pytest.mark.parametrize(
    ("answers", "asked", "status"),
    [
        ([Accepted("V1")], ["find"], "open"),
        ([Unknown("?")], ["find"], "unknown"),
        ([Rejected("never had it"), Accepted("V2")], ["find", "submit"], "open"),
    ],
)
async def test_an_interrupted_order_is_asked_for_first(
    venue: Venue, answers: list[Outcome | Exception], asked: list[str], status: str
) -> None:
    placed = await venue.order()
    pool = venue.app.database.pool
    await pool.fetchval("select orders_begin($1, $2, $3)", venue.tenant_id, placed.id, 1)
    script = Scripted(answers)
    await submit(pool, {"paper": script}, item(venue, placed.id))
    assert (script.asked, await venue.status(placed.id)) == (asked, status)


async def test_an_order_that_is_gone_is_said(venue: Venue) -> None:
    with pytest.raises(LookupError, match="is gone"):
        await submit(venue.app.database.pool, {}, item(venue, uuid4()))
    await cancel(venue.app.database.pool, {}, item(venue, uuid4(), "order.cancel"))


@pytest.mark.parametrize(("answer", "status"), [(Accepted("V1"), "cancelled"), (Rejected("it is filled"), "open")])
async def test_a_cancel_believes_the_broker(venue: Venue, answer: Outcome, status: str) -> None:
    order_id, _ = await _sent(venue, Accepted("V1"))
    await cancel(venue.app.database.pool, {"paper": Scripted([answer])}, item(venue, order_id, "order.cancel"))
    assert await venue.status(order_id) == status
    assert (await _held(venue) == 0) is (status == "cancelled")


async def test_a_cancel_without_an_answer_is_tried_again(venue: Venue) -> None:
    order_id, _ = await _sent(venue, Unknown("?"))
    script = Scripted([TimeoutError(), Accepted("V1")])
    with pytest.raises(RuntimeError, match="did not answer"):
        await cancel(venue.app.database.pool, {"paper": script}, item(venue, order_id, "order.cancel"))
    assert await venue.status(order_id) == "unknown"
    await cancel(venue.app.database.pool, {"paper": script}, item(venue, order_id, "order.cancel"))
    assert await venue.status(order_id) == "cancelled"


async def test_orders_of_an_account_that_was_halted_meanwhile_are_not_sent(venue: Venue) -> None:
    placed = await venue.order()
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await tx.execute(text("update accounts set status = 'reduce_only'"))
    script = Scripted([])
    await submit(venue.app.database.pool, {"paper": script}, item(venue, placed.id))
    assert (script.asked, await venue.status(placed.id), await _held(venue)) == ([], "cancelled", 0)


async def test_a_fill_of_an_order_that_was_taken_back_is_refused(venue: Venue) -> None:
    placed = await venue.order()
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await request_cancel(tx, placed.id, now=datetime.now(UTC))
    await venue.work()
    fill = Fill(placed.id, "1-0", venue.instrument_id, Side.BUY, 10, PRICE, 0, AT)
    assert await record_fill(venue.app.database.pool, venue.tenant_id, fill) == "gone"
    assert await venue.rows("select 1 from fills") == []
    await venue.is_sound()
