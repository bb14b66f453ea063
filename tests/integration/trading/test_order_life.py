"""The life of an order as the one table says it, against the real functions of the database, step by random step."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.bootstrap import bootstrap
from app.infra.settings import Settings
from app.kernel.orders import TERMINAL, Fill, OrderStatus, OrderType, Side
from app.trading.brokers.ports import BrokerOrder
from app.trading.orders.domain import TRANSITIONS, sources
from app.trading.orders.service.filling import record_fill
from app.trading.orders.service.outcomes import broker_order, move, read_state
from tests.factories.live_accounts import open_live_account
from tests.integration.trading.conftest import AT, PRICE, Venue, open_venue

QUANTITY = 10
BY_WORD = [
    status for status in OrderStatus if status not in (OrderStatus.DENIED, OrderStatus.FILLED, OrderStatus.SUBMITTING)
]
"""What an answer or a report can make of an order; a fill fills, a lane submits, and a denial is decided before."""


class Life(RuleBasedStateMachine):
    """One order: what the table expects of it, and what the database has."""

    run: ClassVar[asyncio.Runner]
    venue: ClassVar[Venue]

    @initialize()
    def place(self) -> None:
        placed = self.run.run(self.venue.order(order_type=OrderType.LIMIT, limit_price=PRICE, quantity=QUANTITY))
        self.order_id: UUID = placed.id
        self.status = OrderStatus.ACCEPTED
        self.filled, self.told = 0, 1
        self.holds = True

    @rule()
    def take_turn(self) -> None:
        """The lane sends it: only what is accepted."""
        pool = self.venue.app.database.pool
        self.run.run(pool.fetchval("select orders_begin($1, $2, 1)", self.venue.tenant_id, self.order_id))
        if self.status is OrderStatus.ACCEPTED:
            self.status = OrderStatus.SUBMITTING

    @rule(to=st.sampled_from(BY_WORD))
    def say(self, to: OrderStatus) -> None:
        """An answer, a report or a person says that it is `to`: it is, where the table allows it, and else nothing."""
        moved = self.run.run(self._move(to))
        assert moved is (to in TRANSITIONS[self.status]), (self.status, to)
        if moved:
            self.status = to
            self.told += 1
            self.holds = self.holds and to not in TERMINAL

    @precondition(lambda self: self.status is not OrderStatus.ACCEPTED and self.filled < QUANTITY)
    @rule(quantity=st.integers(1, QUANTITY), again=st.booleans())
    def fill(self, quantity: int, again: bool) -> None:
        """A fill is a fact in every status but before it was sent, and one fact only."""
        quantity = min(quantity, QUANTITY - self.filled)
        fill = Fill(self.order_id, f"F{self.filled}", self.venue.instrument_id, Side.BUY, quantity, PRICE, 0, AT)
        assert self.run.run(record_fill(self.venue.app.database.pool, self.venue.tenant_id, fill)) == "recorded"
        self.filled += quantity
        to = OrderStatus.FILLED if self.filled == QUANTITY else OrderStatus.PARTIALLY_FILLED
        assert to in TRANSITIONS[self.status]
        self.status = to
        self.told += 1
        if again:
            assert self.run.run(record_fill(self.venue.app.database.pool, self.venue.tenant_id, fill)) == "replayed"

    @invariant()
    def is_what_the_table_says(self) -> None:
        row, events, held = self.run.run(self._found())
        assert (row["status"], row["filled_quantity"]) == (self.status, self.filled)
        assert events == self.told
        assert (held > 0) is (self.holds and self.filled < QUANTITY)
        assert (row["unknown_since"] is not None) >= (self.status is OrderStatus.UNKNOWN)

    async def _move(self, to: OrderStatus) -> bool:
        pool = self.venue.app.database.pool
        state = await read_state(pool, self.venue.tenant_id, self.order_id)
        assert state is not None
        order: BrokerOrder = broker_order(self.venue.tenant_id, state)
        return await move(pool, order, to, frm=sources(to), reason="said", received_at=datetime.now(UTC))

    async def _found(self) -> tuple[dict[str, Any], int, int]:
        (row,) = await self.venue.rows(
            "select status, filled_quantity, unknown_since from orders where id = :id", id=self.order_id
        )
        (events,) = await self.venue.rows("select count(*) as n from events where subject_id = :id", id=self.order_id)
        (hold,) = await self.venue.rows("select remaining from ledger_holds where id = :id", id=self.order_id)
        return row, int(events["n"]), int(hold["remaining"])


@pytest.fixture
def machine(app_settings: Settings) -> Iterator[type[Life]]:
    """The state machine on a live account of its own, with a loop of its own."""

    async def open_(stack: AsyncExitStack) -> Venue:
        app = await stack.enter_async_context(bootstrap(app_settings))
        venue = await open_venue(app)
        venue.account_id = await open_live_account(
            app.database, venue.tenant_id, feed=venue.feed, cash_minor=10**12, now=AT
        )
        return venue

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        Life.run, Life.venue = runner, runner.run(open_(stack))
        yield Life
        runner.run(Life.venue.is_sound())
        runner.run(stack.aclose())


@pytest.mark.timeout(300)
def test_an_order_lives_as_the_table_says(machine: type[Life]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
