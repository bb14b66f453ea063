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
ACCOUNT = {"mode": "test", "currency": "USD", "status": "active", "charge_schedule": "zero", "slippage_bps": 0}
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
    last_price=200_000,
    price_age_s=0,
    band_lower=None,
    band_upper=None,
    venue_halted=False,
    segment=None,
    open_orders=0,
    open_buy=0,
    open_sell=0,
    book_open_sell=0,
    highest_buy=None,
    lowest_sell=None,
    book_quantity=10,
    position_quantity=10,
    available=1_000_000,
    cash=1_000_000,
    gross=0,
    equity=1_000_000,
    opening_equity=None,
    high_equity=None,
    peak_equity=None,
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
        ({"product": Product.INTRADAY}, {}, None, "unsupported_product", "product"),
        ({"limit_price": None}, {}, None, "invalid_limit_price", "limit_price"),
        ({"order_type": OrderType.MARKET}, {}, None, "invalid_limit_price", "limit_price"),
        ({}, {"instrument": {"tick": None}}, None, "not_tradable", "instrument_id"),
        ({"limit_price": 200_050}, {}, None, "off_tick", "limit_price"),
        ({"quantity": 15}, {"instrument": {"lot": 10}}, None, "off_lot", "quantity"),
        ({}, {"instrument": {"freeze_quantity": 9}}, None, "above_freeze", "quantity"),
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
