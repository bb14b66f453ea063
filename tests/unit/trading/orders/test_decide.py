"""What is refused by form, what the state of account and tenant denies, and what an order may hold at most."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.errors import DomainError
from app.kernel.orders import Mode, OrderStatus, OrderType, Product, Side, Validity
from app.trading.orders.domain import Context, PlaceOrder, check_form, decide
from app.trading.orders.service.kinds import kinds
from app.trading.risk.service import rules

BUY = PlaceOrder(
    account_id=UUID(int=1),
    instrument_id=UUID(int=2),
    side=Side.BUY,
    order_type=OrderType.LIMIT,
    quantity=10,
    limit_price=200_000,
    product=Product.DELIVERY,
    validity=Validity.DAY,
    client_order_id="one",
)
SELL = replace(BUY, side=Side.SELL)
ACCOUNT = {
    "broker": "paper",
    "mode": "test",
    "currency": "USD",
    "status": "active",
    "charge_schedule": "zero",
    "slippage_bps": 0,
}
INSTRUMENT = {
    "symbol": "AAPL", "venue": "XNAS", "currency": "USD", "price_exp": 4, "qty_exp": 0, "tick": 100, "lot": 1,
    "freeze_quantity": None,
}  # fmt: skip
CONTEXT = Context(
    account=ACCOUNT,
    instrument=INSTRUMENT,
    tenant_status="active",
    halted=None,
    market_at=datetime(2003, 1, 2, 21, tzinfo=UTC),
    session_day=date(2003, 1, 2),
    session_open=True,
    session_segment="EQ",
    session_closes_at=None,
    last_price=200_000,
    price_age_s=0,
    band_lower=None,
    band_upper=None,
    venue_halted=False,
    segment="EQ",
    open_orders=0,
    open_buy=0,
    open_sell=0,
    book_open_buy=0,
    book_open_sell=0,
    highest_buy=None,
    lowest_sell=None,
    book_quantity=10,
    position_quantity=10,
    available=1_000_000,
    pending=0,
    gross=0,
    equity=1_000_000,
    opening_equity=None,
    high_equity=None,
    peak_equity=None,
    flows=0,
    restated=False,
    limits={},
    rates={},
    recent=None,
)


def context(*, account: dict[str, Any] | None = None, instrument: dict[str, Any] | None = None, **changes: Any) -> Any:
    return replace(CONTEXT, account=ACCOUNT | (account or {}), instrument=INSTRUMENT | (instrument or {}), **changes)


@pytest.mark.parametrize(
    ("changes", "where", "mode", "code", "param"),
    [
        ({"client_order_id": "no spaces"}, {}, None, "invalid_client_order_id", "client_order_id"),
        ({"client_order_id": "x" * 65}, {}, None, "invalid_client_order_id", "client_order_id"),
        ({"algo_id": "no spaces"}, {}, None, "invalid_algo_id", "algo_id"),
        ({}, {}, Mode.LIVE, "mode_mismatch", "account_id"),
        ({}, {"account": {"currency": "INR"}}, None, "currency_mismatch", "instrument_id"),
        ({"product": Product.INTRADAY, "validity": Validity.GTC}, {}, None, "invalid_validity", "validity"),
        ({"product": Product.INTRADAY}, {"segment": "FO"}, None, "unsupported_product", "product"),
        ({"limit_price": None}, {}, None, "invalid_limit_price", "limit_price"),
        ({"order_type": OrderType.MARKET}, {}, None, "invalid_limit_price", "limit_price"),
        ({}, {"instrument": {"tick": None}}, None, "not_tradable", "instrument_id"),
        ({"limit_price": 200_050}, {}, None, "off_tick", "limit_price"),
        ({"quantity": 15}, {"instrument": {"lot": 10}}, None, "off_lot", "quantity"),
        ({"quantity": 91}, {"instrument": {"freeze_quantity": 9}}, None, "above_freeze", "quantity"),
    ],
)
def test_what_is_wrong_by_form_names_its_field(
    changes: dict[str, Any], where: dict[str, Any], mode: Mode | None, code: str, param: str
) -> None:
    with pytest.raises(DomainError) as caught:
        check_form(replace(BUY, **changes), context(**where), kinds(), mode=mode)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_a_well_formed_order_passes() -> None:
    check_form(BUY, CONTEXT, kinds(), mode=Mode.TEST)
    check_form(replace(BUY, order_type=OrderType.MARKET, limit_price=None), CONTEXT, kinds(), mode=None)


@pytest.mark.parametrize(
    ("command", "where", "denied_by"),
    [
        (BUY, {"account": {"status": "reduce_only"}}, ["account_status"]),
        (SELL, {"account": {"status": "reduce_only"}}, []),
        (SELL, {"account": {"status": "closed"}}, ["account_status"]),
        (BUY, {"tenant_status": "suspended"}, ["tenant_status"]),
        (BUY, {"halted": {"level": "account", "mode": "halt", "reason": "why"}}, ["halt"]),
        (BUY, {"halted": {"level": "platform", "mode": "reduce_only", "reason": "why"}}, ["halt"]),
        (SELL, {"halted": {"level": "account", "mode": "halt", "reason": "why"}}, []),
        (SELL, {"tenant_status": "suspended"}, []),
        (SELL, {"book_quantity": 9, "position_quantity": 20}, ["short_sale"]),
        (SELL, {"book_open_sell": 1, "open_sell": 1}, ["short_sale"]),
        (BUY, {"available": 19_999}, ["available_funds"]),
        (BUY, {"available": 20_000}, []),
        (BUY, {"available": None}, ["available_funds"]),
        (BUY, {"last_price": None}, ["market"]),
    ],
)
def test_the_state_of_account_tenant_and_market_denies(
    command: PlaceOrder, where: dict[str, Any], denied_by: list[str]
) -> None:
    decision = decide(command, context(**where), kinds(), rules())
    assert [finding.rule for finding in decision.reasons] == denied_by
    assert decision.status is (OrderStatus.DENIED if denied_by else OrderStatus.ACCEPTED)
    assert not denied_by or decision.hold_minor == 0


@given(
    st.sampled_from((BUY, SELL)),
    st.integers(1, 10**7),
    st.integers(1, 10**6),
    st.integers(0, 10**12),
    st.sampled_from(("zero", "us_equity")),
    st.integers(0, 1000),
    st.booleans(),
)
def test_a_buy_holds_what_it_may_cost_and_never_more_than_there_is(
    command: PlaceOrder, quantity: int, ticks: int, available: int, schedule: str, slippage: int, market: bool
) -> None:
    price = ticks * 100
    asked = replace(command, quantity=quantity, limit_price=None if market else price)
    asked = replace(asked, order_type=OrderType.MARKET if market else OrderType.LIMIT)
    account = {"charge_schedule": schedule, "slippage_bps": slippage}
    seen = context(account=account, last_price=price, available=available, book_quantity=10**8)
    decision = decide(asked, seen, kinds(), rules())
    assert 0 <= decision.hold_minor <= available
    if command.side is Side.SELL or decision.status is OrderStatus.DENIED:
        assert decision.hold_minor == 0
    else:
        assert decision.hold_minor * 100 >= quantity * price


STOP = replace(BUY, order_type="sl_m", limit_price=None, trigger_price=210_000)
STOP_LIMIT = replace(STOP, order_type="sl", limit_price=211_000)
TRAIL = replace(BUY, order_type="trailing_stop", limit_price=None, parameters={"trail_by": "1.00"})
MARKET = replace(BUY, order_type="market", limit_price=None)


@pytest.mark.parametrize(
    ("command", "code", "param"),
    [
        (replace(BUY, order_type="bogus"), "unknown_order_type", "order_type"),
        (replace(BUY, trigger_price=210_000), "invalid_trigger_price", "trigger_price"),
        (replace(STOP, trigger_price=None), "invalid_trigger_price", "trigger_price"),
        (replace(STOP, trigger_price=210_050), "off_tick", "trigger_price"),
        (replace(STOP, trigger_price=199_900), "stop_on_the_wrong_side", "trigger_price"),
        (replace(STOP, trigger_price=200_000), "stop_on_the_wrong_side", "trigger_price"),
        (replace(STOP, side=Side.SELL), "stop_on_the_wrong_side", "trigger_price"),
        (replace(STOP, limit_price=210_000), "invalid_limit_price", "limit_price"),
        (replace(STOP, validity=Validity.IOC), "invalid_validity", "validity"),
        (replace(STOP_LIMIT, limit_price=None), "invalid_limit_price", "limit_price"),
        (replace(STOP_LIMIT, limit_price=209_900), "invalid_limit_price", "limit_price"),
        (replace(STOP_LIMIT, market_protection_bps=10), "invalid_market_protection", "market_protection"),
        (replace(MARKET, market_protection_bps=10_001), "invalid_market_protection", "market_protection"),
        (replace(MARKET, validity=Validity.GTT), "invalid_validity", "validity"),
        (replace(MARKET, validity=Validity.TTL, validity_minutes=5), "invalid_validity", "validity"),
        (replace(BUY, validity=Validity.TTL), "invalid_validity_minutes", "validity_minutes"),
        (replace(BUY, validity_minutes=5), "invalid_validity_minutes", "validity_minutes"),
        (replace(BUY, validity=Validity.IOC, after_market=True), "invalid_after_market", "after_market"),
        (replace(TRAIL, after_market=True), "invalid_after_market", "after_market"),
        (replace(TRAIL, parameters=None), "invalid_parameters", "parameters"),
        (replace(TRAIL, parameters={"trail_by": "1.005"}), "off_tick", "parameters.trail_by"),
        (replace(TRAIL, parameters={"trail_percent": "100"}), "invalid_parameters", "parameters.trail_percent"),
        (replace(BUY, parameters={"trail_by": "1.00"}), "invalid_parameters", "parameters"),
        (replace(BUY, disclosed_quantity=10), "invalid_disclosed_quantity", "disclosed_quantity"),
        (replace(BUY, disclosed_quantity=11), "invalid_disclosed_quantity", "disclosed_quantity"),
        (replace(BUY, quantity=101, disclosed_quantity=10), "invalid_disclosed_quantity", "disclosed_quantity"),
        (replace(MARKET, disclosed_quantity=5), "invalid_disclosed_quantity", "disclosed_quantity"),
    ],
)
def test_each_type_takes_its_own_fields_and_no_others(command: PlaceOrder, code: str, param: str) -> None:
    with pytest.raises(DomainError) as caught:
        check_form(command, CONTEXT, kinds(), mode=None)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_the_tenth_part_may_be_disclosed() -> None:
    check_form(replace(BUY, quantity=100, disclosed_quantity=10), CONTEXT, kinds(), mode=None)


def test_a_stop_on_an_unknown_side_is_denied_for_want_of_a_price() -> None:
    unseen = context(last_price=None)
    check_form(STOP, unseen, kinds(), mode=None)
    assert [finding.rule for finding in decide(STOP, unseen, kinds(), rules()).reasons] == ["market"]
    assert [finding.rule for finding in decide(TRAIL, unseen, kinds(), rules()).reasons] == ["market"]


@pytest.mark.parametrize(
    ("command", "per_unit"),
    [
        (STOP_LIMIT, "21.10"),
        (STOP, "21.11"),  # with the buffer of half a per cent, on the tick
        (replace(STOP, market_protection_bps=100), "21.21"),
        (replace(MARKET, market_protection_bps=10), "20.02"),
        (replace(MARKET, market_protection_bps=1), "20.00"),
        (TRAIL, "21.11"),
    ],
)
def test_a_buy_holds_the_worst_price_of_its_type(command: PlaceOrder, per_unit: str) -> None:
    decision = decide(command, CONTEXT, kinds(), rules())
    assert decision.reasons == []
    assert decision.hold_minor == 10 * int(per_unit.replace(".", ""))


def test_a_broker_that_wants_protection_gets_the_band_of_the_price() -> None:
    market = kinds()["market"]
    for price, bps, bound in ((990_000, 200, 1_009_800), (1_000_000, 100, 1_010_000), (5_000_000, 50, 5_025_000)):
        seen = context(account={"broker": "kite"}, last_price=price)
        assert (market.protection_bps(MARKET, seen), market.protected_price(MARKET, seen)) == (bps, bound)
    assert market.protected_price(MARKET, CONTEXT) is None


def test_an_order_for_the_next_session_is_denied_while_one_is_open() -> None:
    decision = decide(replace(BUY, after_market=True), CONTEXT, kinds(), rules())
    assert [(finding.rule, finding.value) for finding in decision.reasons] == [("session", "open")]
    closed = context(session_open=False)
    assert decide(replace(BUY, after_market=True), closed, kinds(), rules()).reasons == []


def test_what_an_earlier_release_fingerprinted_is_the_same_order() -> None:
    assert BUY.fingerprint == replace(BUY, after_market=False, parameters=None).fingerprint
    assert len({one.fingerprint for one in (BUY, STOP, STOP_LIMIT, TRAIL, replace(BUY, after_market=True))}) == 5
