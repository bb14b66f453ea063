"""The paper venue's book against a tape."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from app.kernel.orders import OrderType, Side, Validity
from app.trading.paper.domain import Close, Happening, Price, Resting, execute, stream_key

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


_STOCKS = [uuid4() for _ in range(3)]
_BOOKS = st.lists(
    st.builds(
        lambda arrived, stock, kind, level, validity, venue: resting(
            arrived_after=f"{arrived}-0",
            instrument_id=_STOCKS[stock],
            order_type=OrderType.LIMIT if kind == "sl" else OrderType(kind),
            limit_price=None if kind == "market" else level,
            trigger_price=level - 100 if kind == "sl" else None,
            validity=validity,
            venue=venue,
        ),
        st.integers(0, 12),
        st.integers(0, 2),
        st.sampled_from(["market", "limit", "sl"]),
        st.integers(90, 110).map(lambda cents: cents * 100),
        st.sampled_from([Validity.DAY, Validity.GTC, Validity.IOC]),
        st.sampled_from(["XNAS", "XNYS"]),
    ),
    max_size=12,
)
_TAPES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(88, 112).map(lambda cents: cents * 100))
    | st.sampled_from(["XNAS", "XNYS"]),
    max_size=12,
)


@given(_BOOKS, _TAPES)
def test_every_order_of_a_book_trades_as_it_would_alone_in_the_order_of_the_tape_then_of_arrival(
    book: list[Resting], shown: list[tuple[int, int] | str]
) -> None:
    tape = [
        Close(f"{place}-1", one, AT)
        if isinstance(one, str)
        else price(f"{place}-1", one[1], instrument=_STOCKS[one[0]])
        for place, one in enumerate(shown)
    ]
    alone = [happened for order in book for happened in execute([order], tape)]
    alone.sort(key=lambda it: (stream_key(it.stream_id), stream_key(it.order.arrived_after), it.order.order_id))
    assert execute(book, tape) == alone


def test_stream_ids_compare_as_numbers() -> None:
    assert stream_key("9-10") > stream_key("9-9")
    assert stream_key("10-0") > stream_key("9-10")


def stop(**changes: object) -> Resting:
    """To buy once the market has risen to 100.00; it has seen a price."""
    asked: dict[str, object] = {"order_type": OrderType.SL_M, "limit_price": None, "trigger_price": 1_000_000}
    return resting(**asked | {"seen": True} | changes)


def test_a_touch_sets_a_stop_off_and_it_trades_at_its_trigger() -> None:
    (done,) = execute([stop()], [price("6-0", 999_900), price("6-1", 1_000_000)])
    assert (done.stream_id, done.price) == ("6-1", 1_000_000)
    (done,) = execute([stop()], [price("6-0", 1_020_000)])
    assert done.price == 1_000_000
    (done,) = execute([stop(side=Side.SELL, slippage_bps=10)], [price("6-0", 990_000)])
    assert done.price == 999_000


def test_a_stop_fills_at_the_price_of_a_gap() -> None:
    (done,) = execute([stop()], [price("6-0", 1_020_000, first=True)])
    assert done.price == 1_020_000
    (done,) = execute([stop(seen=False, side=Side.SELL)], [price("6-0", 970_000)])
    assert done.price == 970_000


def test_a_stop_beyond_its_limit_rests_there_and_fills_when_the_market_comes_back() -> None:
    order = stop(order_type=OrderType.SL, limit_price=1_010_000)
    tape = [price("6-0", 1_020_000, first=True), price("6-1", 1_010_000), price("6-2", 1_000_000)]
    set_off, filled = execute([order], tape)
    assert (set_off.happening, set_off.price, set_off.stream_id) == (Happening.TRIGGERED, None, "6-0")
    assert (filled.price, filled.stream_id) == (1_010_000, "6-2")
    (within,) = execute([order], [price("6-0", 1_005_000, first=True)])
    assert within.price == 1_005_000


def test_a_protected_order_never_fills_beyond_its_protection() -> None:
    market = resting(order_type=OrderType.MARKET, limit_price=None, protected_price=1_005_000)
    (done,) = execute([market], [price("6-0", 1_005_100)])
    assert (done.happening, done.price) == (Happening.CANCELLED, None)
    (done,) = execute([replace(market, slippage_bps=100)], [price("6-0", 1_000_000)])
    assert done.price == 1_005_000
    (done,) = execute([stop(protected_price=1_005_000)], [price("6-0", 1_020_000)])
    assert done.price == 1_000_000  # it was set off on the way
    (done,) = execute([stop(protected_price=1_005_000)], [price("6-0", 1_020_000, first=True)])
    assert done.happening is Happening.CANCELLED


def test_an_order_of_the_moment_meets_one_price() -> None:
    order = resting(validity=Validity.IOC)
    (done,) = execute([order], [price("6-0", 1_000_000), price("6-1", 990_000)])
    assert (done.stream_id, done.happening) == ("6-0", Happening.CANCELLED)
    (done,) = execute([order], [price("6-0", 990_000)])
    assert done.price == 990_000


def test_an_order_for_some_minutes_ends_at_the_first_price_after_them_or_with_its_session() -> None:
    order = resting(validity=Validity.TTL, expires_at=AT + timedelta(minutes=5))
    late = replace(price("6-1", 990_000), at=AT + timedelta(minutes=5))
    (done,) = execute([order], [price("6-0", 1_000_000), late])
    assert (done.stream_id, done.happening, done.price) == ("6-1", Happening.EXPIRED, None)
    (done,) = execute([order], [Close("7-0", "XNAS", AT)])
    assert done.happening is Happening.EXPIRED


@given(
    st.lists(st.tuples(st.integers(90, 110), st.booleans()), min_size=1, max_size=10),
    st.integers(0, 10),
    st.integers(92, 108),
    st.integers(0, 3),
    st.sampled_from(Side),
    st.booleans(),
)
def test_cutting_the_tape_anywhere_gives_a_stop_the_same_executions(
    values: list[tuple[int, bool]], cut: int, trigger: int, room: int, side: Side, limited: bool
) -> None:
    """Whether it was set off is kept with the order; what was shown up to there is behind it."""
    kind = OrderType.SL if limited else OrderType.SL_M
    limit = (trigger + side.sign * room) * 100 if limited else None
    order = stop(order_type=kind, side=side, trigger_price=trigger * 100, limit_price=limit, seen=False)
    tape = [price(f"6-{place}", value * 100, first=first) for place, (value, first) in enumerate(values)]
    whole = execute([order], tape)
    head = execute([order], tape[:cut])
    left = replace(order, seen=bool(tape[:cut]))
    if head and head[-1].happening is Happening.TRIGGERED:
        left = replace(order, seen=True, triggered=True, arrived_after=head[-1].stream_id)
        tail = execute([left], tape)  # shown again after a crash
    else:
        tail = [] if head else execute([left], tape[cut:])
    shown = [(done.stream_id, done.price, done.happening) for done in whole]
    assert [(done.stream_id, done.price, done.happening) for done in head + tail] == shown


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
