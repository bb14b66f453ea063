"""Orders that wait with us for a price: what sends them, and how a trigger follows the market."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from app.kernel.orders import Side, Validity
from app.trading.orders.domain.waiting import Turn, WaitsForPrice, watch
from app.trading.paper.domain import Close, Price

AT = datetime(2003, 1, 2, 14, 30, tzinfo=UTC)
STOCK = uuid4()
SELL = WaitsForPrice(
    tenant_id=uuid4(),
    order_id=uuid4(),
    account_id=uuid4(),
    instrument_id=STOCK,
    venue="XNAS",
    side=Side.SELL,
    validity=Validity.GTC,
    trigger_price=9_500,
    trail_by=500,
    trail_bps=None,
    tick=10,
    seen_to="5-0",
)


def tape(*prices: int) -> list[Price | Close]:
    return [Price(f"6-{place}", STOCK, price, 100, False, AT) for place, price in enumerate(prices)]


def test_a_trigger_follows_the_market_up_and_stays_when_it_falls() -> None:
    (turned,) = watch([SELL], tape(10_000, 10_400, 10_100))
    assert (turned.turn, turned.order.trigger_price, turned.order.seen_to) == (Turn.MOVED, 9_900, "6-1")
    (turned,) = watch([SELL], tape(10_400, 9_900))
    assert (turned.turn, turned.order.seen_to) == (Turn.SENT, "6-1")
    assert watch([SELL], tape(10_000, 9_510)) == []


def test_a_buys_trigger_follows_the_market_down() -> None:
    buy = replace(SELL, side=Side.BUY, trigger_price=10_500)
    (turned,) = watch([buy], tape(9_700, 10_000))
    assert (turned.turn, turned.order.trigger_price) == (Turn.MOVED, 10_200)


def test_a_distance_in_per_cent_is_rounded_away_from_the_market() -> None:
    (turned,) = watch([replace(SELL, trail_by=None, trail_bps=333)], tape(10_001))
    assert turned.order.trigger_price == 9_660  # 10,001 - 333 = 9,668


def test_a_fixed_trigger_does_not_move() -> None:
    order = replace(SELL, trail_by=None)
    assert watch([order], tape(20_000, 9_510)) == []
    (turned,) = watch([order], tape(20_000, 9_500))
    assert turned.turn is Turn.SENT


def test_what_was_shown_before_is_not_held_against_the_moved_trigger() -> None:
    (turned,) = watch([SELL], tape(9_600, 10_400))
    assert turned.order.trigger_price == 9_900
    assert watch([turned.order], tape(9_600, 10_400)) == []  # the batch comes again after a crash


def test_only_a_day_order_ends_with_the_session_of_its_venue() -> None:
    closes: list[Price | Close] = [Close("7-0", "XNAS", AT)]
    (turned,) = watch([replace(SELL, validity=Validity.DAY)], closes)
    assert turned.turn is Turn.OVER
    assert watch([SELL, replace(SELL, validity=Validity.GTT)], closes) == []
    assert watch([replace(SELL, validity=Validity.DAY, venue="XNYS")], closes) == []


@given(st.lists(st.integers(80, 120), max_size=12), st.integers(0, 12), st.integers(1, 20), st.sampled_from(Side))
def test_a_restart_anywhere_sends_the_order_at_the_same_price(
    prices: list[int], cut: int, trail: int, side: Side
) -> None:
    order = replace(SELL, side=side, trail_by=trail * 10, trigger_price=1_000 + side.sign * trail * 10)
    whole = tape(*(price * 10 for price in prices))
    head = watch([order], whole[:cut])
    sent = bool(head) and head[0].turn is Turn.SENT
    found = head if sent else watch([head[0].order if head else order], whole) or head
    assert [(one.turn, one.order.trigger_price, one.order.seen_to) for one in watch([order], whole)] == [
        (one.turn, one.order.trigger_price, one.order.seen_to) for one in found
    ]


@given(st.lists(st.integers(80, 120), min_size=1, max_size=12), st.sampled_from(Side))
def test_a_trigger_is_never_moved_away_from_the_market(prices: list[int], side: Side) -> None:
    order = replace(SELL, side=side, trail_by=50, trigger_price=1_000 + side.sign * 50)
    for turned in watch([order], tape(*(price * 10 for price in prices))):
        assert (turned.order.trigger_price - order.trigger_price) * side.sign <= 0
