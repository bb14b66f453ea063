"""Orders that are only supposed: every rule's verdict, funds and positions, one order after the other; no trace."""

from typing import Any

import httpx
from sqlalchemy import text

from app.infra.database import Database
from app.kernel.ids import encode_id
from tests.factories.tenants import TenantWithKey, make_key, make_tenant
from tests.integration.trading.conftest import Venue

TABLES = ("orders", "risk_decisions", "risk_days", "events", "work_items", "ledger_holds")


async def _asking(venue: Venue) -> TenantWithKey:
    return await make_key(venue.app.database, venue.tenant_id)


def order(venue: Venue, **changes: Any) -> dict[str, Any]:
    asked = {
        "account_id": encode_id("acc", venue.account_id),
        "instrument_id": encode_id("ins", venue.instrument_id),
        "side": "buy",
        "order_type": "market",
        "quantity": "100",
    }
    return asked | changes


async def _suppose(
    api: httpx.AsyncClient, key: TenantWithKey, *orders: dict[str, Any], status: int = 200
) -> dict[str, Any]:
    answer = await api.post("/v1/risk/what_if", headers=key.headers, json={"orders": list(orders)})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _limited(api: httpx.AsyncClient, key: TenantWithKey, rule: str, **parameters: Any) -> None:
    answer = await api.put(f"/v1/risk_limits/{rule}", headers=key.headers, json={"parameters": parameters})
    assert answer.status_code == 200, answer.text


def denied_by(one: dict[str, Any]) -> list[str]:
    return [said["rule"] for said in one["risk"] if said["verdict"] == "deny"]


async def test_each_order_is_decided_on_what_those_before_would_leave(api: httpx.AsyncClient, venue: Venue) -> None:
    key = await _asking(venue)
    found = (await _suppose(api, key, *[order(venue, quantity="200")] * 3))["data"]
    assert [one["status"] for one in found] == ["accepted", "accepted", "denied"]
    assert denied_by(found[2]) == ["available_funds"]
    assert [one["position_after"] for one in found] == ["200", "400", "400"]
    held = [float(one["available"]) for one in found]
    assert held[0] == 10_000.0 and held[0] > held[1] > held[2]


async def test_every_rule_says_its_figures(api: httpx.AsyncClient, venue: Venue) -> None:
    key = await _asking(venue)
    await _limited(api, key, "max_quantity", limit="150")
    await _limited(api, key, "max_leverage", limit_bps=3_000)
    await _limited(api, key, "max_concentration", limit_bps=10_000)
    first, second = (await _suppose(api, key, order(venue), order(venue)))["data"]
    said = {one["rule"]: one for one in first["risk"]}
    assert (said["max_quantity"]["limit"], said["max_quantity"]["value"]) == ("150", "100")
    assert said["max_leverage"]["verdict"] == "pass" and said["max_concentration"]["value"] == "20.00"
    assert denied_by(second) == ["max_leverage"]


async def test_rules_that_count_orders_count_the_supposed_ones(api: httpx.AsyncClient, venue: Venue) -> None:
    key = await _asking(venue)
    await _limited(api, key, "duplicate_order", within_s=5)
    await _limited(api, key, "order_rate", per_second=2)
    await _limited(api, key, "self_trade", prevent=True)
    asked = [
        order(venue, quantity="1", order_type="limit", limit_price="19.00"),
        order(venue, quantity="1", order_type="limit", limit_price="19.00"),
        order(venue, quantity="2", order_type="limit", limit_price="19.00"),
        order(venue, quantity="3", order_type="limit", limit_price="19.00"),
        order(venue, side="sell", quantity="1", order_type="limit", limit_price="18.00"),
    ]
    found = (await _suppose(api, key, *asked))["data"]
    assert [denied_by(one) for one in found] == [
        [],
        ["duplicate_order"],
        [],
        ["order_rate"],
        ["order_rate", "self_trade", "short_sale"],
    ]


async def test_supposing_writes_nothing(api: httpx.AsyncClient, venue: Venue) -> None:
    key = await _asking(venue)

    async def rows() -> list[int]:
        return [(await venue.rows(f"select count(*) as n from {table}"))[0]["n"] for table in TABLES]

    before, versions = await rows(), await venue.rows("select version from accounts")
    await _suppose(api, key, order(venue), order(venue, side="sell", quantity="1"))
    assert (await rows(), await venue.rows("select version from accounts")) == (before, versions)


async def test_what_is_wrong_by_form_and_several_accounts_are_refused(
    api: httpx.AsyncClient, venue: Venue, database: Database
) -> None:
    key = await _asking(venue)
    odd = order(venue, order_type="limit", limit_price="19.001")
    assert (await _suppose(api, key, order(venue), odd, status=422))["code"] == "off_tick"
    body = {"name": "b", "currency": "USD", "opening_balance": "1.00"}
    other = (await api.post("/v1/accounts", headers=key.headers, json=body)).json()["id"]
    several = (await _suppose(api, key, order(venue), order(venue, account_id=other), status=422))["code"]
    assert several == "several_accounts"
    assert (await _suppose(api, key, status=422))["code"] == "invalid_request"
    stranger = await make_tenant(database)
    assert (await _suppose(api, stranger, order(venue), status=404))["code"] == "account_not_found"


async def test_an_unknown_order_counts_as_working(api: httpx.AsyncClient, venue: Venue) -> None:
    key = await _asking(venue)
    await _limited(api, key, "max_position", limit="3000.00")
    placed = await venue.order(quantity=100)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await tx.execute(text("update orders set status = 'unknown' where id = :id"), {"id": placed.id})
    (one,) = (await _suppose(api, key, order(venue)))["data"]
    assert denied_by(one) == ["max_position"]
