"""The paper venue's book against a tape."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from app.kernel.orders import OrderType, Side, Validity
from app.trading.paper.domain import Close, Price, Resting, execute, stream_key

AT = datetime(2003, 1, 2, 14, 30, tzinfo=UTC)
STOCK = uuid4()


def resting(**changes: object) -> Resting:
    order = Resting(
        tenant_id=uuid4(),
        order_id=uuid4(),
        account_id=uuid4(),
        instrument_id=STOCK,
        venue="XNAS",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        validity=Validity.DAY,
        limit_price=1_000_000,
        remaining=10,
        tick=100,
        slippage_bps=0,
        arrived_after="5-0",
        seen=False,
    )
    return replace(order, **changes)  # type: ignore[arg-type]


def price(stream_id: str, value: int, *, first: bool = False, instrument: UUID = STOCK) -> Price:
    return Price(stream_id, instrument, value, 100, first, AT)


def test_an_order_meets_no_price_shown_before_it_arrived() -> None:
    assert execute([resting()], [price("4-0", 1), price("5-0", 1)]) == []


def test_a_touch_is_no_fill_and_a_trade_through_fills_at_the_limit() -> None:
    tape = [price("6-0", 1_010_000), price("6-1", 1_000_000), price("6-2", 999_900)]
    (done,) = execute([resting()], tape)
    assert (done.stream_id, done.price, done.quantity) == ("6-2", 1_000_000, 10)


def test_the_first_price_after_arrival_fills_at_itself() -> None:
    (done,) = execute([resting()], [price("6-0", 990_000)])
    assert done.price == 990_000


def test_an_order_that_has_seen_a_price_fills_at_its_limit_but_a_gap_at_the_open() -> None:
    (done,) = execute([resting(seen=True)], [price("6-0", 990_000)])
    assert done.price == 1_000_000
    (done,) = execute([resting(seen=True)], [price("6-0", 990_000, first=True)])
    assert done.price == 990_000


def test_a_market_order_pays_the_slippage_against_itself() -> None:
    order = resting(order_type=OrderType.MARKET, limit_price=None, slippage_bps=10)
    (done,) = execute([order], [price("6-0", 1_000_000)])
    assert done.price == 1_001_000
    (done,) = execute([replace(order, side=Side.SELL)], [price("6-0", 1_000_000)])
    assert done.price == 999_000


def test_a_day_order_expires_at_its_own_venues_close_and_a_gtc_order_does_not() -> None:
    close = Close("7-0", "XNAS", AT)
    (done,) = execute([resting()], [close])
    assert done.price is None
    assert execute([resting(validity=Validity.GTC)], [close]) == []
    assert execute([resting()], [Close("7-0", "XNYS", AT)]) == []
    assert execute([resting(arrived_after="8-0")], [close]) == []


def test_an_order_fills_once_and_leaves_the_book() -> None:
    done = execute([resting()], [price("6-0", 1), price("6-1", 1), Close("7-0", "XNAS", AT)])
    assert len(done) == 1


def test_stream_ids_compare_as_numbers() -> None:
    assert stream_key("9-10") > stream_key("9-9")
    assert stream_key("10-0") > stream_key("9-10")


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(0, 12), st.integers(1, 30))
def test_cutting_the_tape_anywhere_gives_the_same_executions(values: list[int], cut: int, limit: int) -> None:
    """The matcher reads batches of any size: what was read before decides only whether the order has seen a price."""
    order = resting(limit_price=limit * 100)
    tape = [price(f"6-{place}", value * 100) for place, value in enumerate(values)]
    whole = execute([order], tape)
    head = execute([order], tape[:cut])
    left = [] if head else [replace(order, seen=bool(tape[:cut]))]
    tail = execute(left, tape[cut:])
    shown = [(done.stream_id, done.price, done.quantity) for done in whole]
    assert [(done.stream_id, done.price, done.quantity) for done in head + tail] == shown
