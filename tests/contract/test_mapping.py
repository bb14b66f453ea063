"""Pure translations, on payloads of Kite Connect v3's shape."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from app.kernel.orders import OrderType, Product, Side, Validity
from app.trading.brokers.ports import (
    Accepted,
    BrokerOrder,
    Change,
    Outcome,
    Rejected,
    SessionExpired,
    Throttled,
    Unknown,
    VenuePosition,
    VenueStatus,
)
from tests.contract.adapter.mapping import (
    Answer,
    at,
    change_form,
    data,
    order_form,
    outcome,
    positions,
    reports,
    update_tag,
)

ID = UUID(int=7)
ORDER = BrokerOrder(
    tenant_id=ID,
    order_id=ID,
    account_id=ID,
    tag="0123456789abcdefghjk",
    feed="live",
    instrument_id=ID,
    symbol="SBIN",
    venue="NSE",
    price_exp=4,
    qty_exp=0,
    side=Side.BUY,
    order_type=OrderType.LIMIT,
    product=Product.DELIVERY,
    validity=Validity.DAY,
    quantity=10,
    limit_price=8_205_500,
    tick=500,
    slippage_bps=0,
)
BOOK_ENTRY = {
    "order_id": "151220000000000",
    "status": "OPEN",
    "status_message": None,
    "order_timestamp": "2026-11-26 09:15:01",
    "exchange": "NSE",
    "tradingsymbol": "SBIN",
    "transaction_type": "BUY",
    "quantity": 10,
    "filled_quantity": 4,
    "tag": "0123456789abcdefghjk",
    "tags": ["0123456789abcdefghjk"],
}


def _json(code: int, /, **envelope: Any) -> Answer:
    return Answer(code, "application/json", json.dumps(envelope))


def _error(status: int, kind: str, message: str) -> Answer:
    return _json(status, status="error", error_type=kind, message=message, data=None)


def test_an_order_becomes_a_form_with_exact_decimals() -> None:
    assert order_form(ORDER) == {
        "exchange": "NSE",
        "tradingsymbol": "SBIN",
        "transaction_type": "BUY",
        "order_type": "LIMIT",
        "product": "CNC",
        "validity": "DAY",
        "quantity": "10",
        "price": "820.55",
        "tag": "0123456789abcdefghjk",
    }
    stop = replace(
        ORDER, order_type=OrderType.SL_M, limit_price=None, trigger_price=8_300_000, market_protection_bps=150
    )
    assert (
        order_form(stop).items()
        >= {"order_type": "SL-M", "trigger_price": "830.00", "market_protection": "1.5"}.items()
    )
    brief = replace(ORDER, validity=Validity.TTL, validity_minutes=5, disclosed_quantity=4)
    assert order_form(brief).items() >= {"validity": "TTL", "validity_ttl": "5", "disclosed_quantity": "4"}.items()
    assert order_form(replace(ORDER, order_type=OrderType.MARKET, limit_price=None))["market_protection"] == "-1"
    assert change_form(ORDER, Change(trigger_price=8_206_000)) == {"trigger_price": "820.60"}
    assert change_form(ORDER, Change(quantity=12)) == {"quantity": "12"}
    assert change_form(ORDER, Change(limit_price=8_206_000)) == {"price": "820.60"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (_json(200, status="success", data={"order_id": "151220000000000"}), Accepted("151220000000000")),
        (_error(400, "InputException", "Invalid `price`."), Rejected("Invalid `price`.")),
        (_error(400, "MarginException", "Insufficient funds."), Rejected("Insufficient funds.")),
        (_error(428, "OrderException", "Authorise the holding."), Rejected("Authorise the holding.")),
        (_error(403, "TokenException", "Incorrect `api_key` or `access_token`."), SessionExpired()),
        (_error(403, "PermissionException", "Insufficient permission."), Rejected("Insufficient permission.")),
        (_error(429, "NetworkException", "Too many requests"), Throttled(1.0)),
        (_error(400, "OrderException", "Order request timed out."), Unknown("Order request timed out.")),
        (_error(500, "GeneralException", "?"), Unknown("the broker answered 500 with no word on the order")),
        (_error(502, "NetworkException", "?"), Unknown("the broker answered 502 with no word on the order")),
        (Answer(504, "text/html", "<html>"), Unknown("the broker answered 504 with no word on the order")),
        (Answer(400, "text/html", "<html>"), Unknown("the broker answered 400 with no word on the order")),
        (Answer(200, "", ""), Unknown("the broker answered 200 with no word on the order")),
        (Answer(200, "application/json", "{not json"), Unknown("the broker answered 200 with no word on the order")),
        (_json(200, status="success", data={}), Unknown("the broker's answer names no order")),
        (_json(200, status="error", message=""), Unknown("the broker's answer says nothing")),
    ],
)
def test_every_answer_has_one_meaning_and_doubt_is_unknown(answer: Answer, said: Outcome) -> None:
    assert outcome(answer) == said


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("COMPLETE", VenueStatus.FILLED),
        ("CANCELLED", VenueStatus.CANCELLED),
        ("CANCELLED AMO", VenueStatus.CANCELLED),
        ("REJECTED", VenueStatus.REJECTED),
        ("OPEN", VenueStatus.OPEN),
        ("TRIGGER PENDING", VenueStatus.OPEN),
        ("PUT ORDER REQ RECEIVED", VenueStatus.PENDING),
        ("VALIDATION PENDING", VenueStatus.PENDING),
        ("CANCEL PENDING", VenueStatus.PENDING),
        ("A STATUS OF NEXT YEAR", VenueStatus.PENDING),
    ],
)
def test_only_four_statuses_end_an_order(status: str, meaning: VenueStatus) -> None:
    (report,) = reports([BOOK_ENTRY | {"status": status}], [])
    assert report.status is meaning


def test_the_book_and_its_trades_become_reports_without_a_float() -> None:
    trade = {"trade_id": "T1", "order_id": "151220000000000", "quantity": 4, "fill_timestamp": "2026-11-26 09:15:02"}
    answer = Answer(
        200, "application/json", json.dumps({"status": "success", "data": [trade | {"average_price": 0.1}]})
    )
    (report,) = reports([BOOK_ENTRY], data(answer))
    (fill,) = report.fills
    assert (fill.id, fill.quantity, fill.price) == ("T1", "4", "0.1")
    assert fill.at == datetime(2026, 11, 26, 3, 45, 2, tzinfo=UTC)
    assert (report.tag, report.filled, report.quantity) == ("0123456789abcdefghjk", "4", "10")


def test_an_order_without_our_tag_is_a_strangers() -> None:
    (report,) = reports([BOOK_ENTRY | {"tag": None}], [])
    assert report.tag is None


def test_times_are_indian_and_never_the_hosts() -> None:
    assert at("2026-11-26 09:15:00") == datetime(2026, 11, 26, 3, 45, tzinfo=UTC)


def test_positions_leave_out_what_came_to_nothing() -> None:
    day = [{"tradingsymbol": "TCS", "quantity": -3}, {"tradingsymbol": "SBIN", "quantity": 0}]
    assert positions(day) == [VenuePosition("TCS", "-3")]


def test_frames_that_tell_of_orders_are_told_from_ticks_and_messages() -> None:
    assert update_tag(b"\x00") == (False, None)
    assert update_tag('{"type": "message", "data": "hello"}') == (False, None)
    assert update_tag('{"type": "order", "data": {"tag": "T"}}') == (True, "T")
    assert update_tag('{"type": "order", "data": {"tag": null}}') == (True, None)
