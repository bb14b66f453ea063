"""Entitlements in the database: who may change them, what follows from a change, and what never does."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from app.infra.database import Database
from app.kernel.errors import DomainError
from app.platform.plans.domain import Override, PlanTerms, QuotaName, Standing
from app.platform.plans.service import (
    assign_plan,
    entitlements,
    mark_paid,
    mark_past_due,
    set_add_on,
    set_override,
)
from tests.factories.entitlements import limit_tenant
from tests.factories.tenants import make_tenant

pytestmark = pytest.mark.asyncio
NOW = datetime(2026, 1, 31, 9, 15, tzinfo=UTC)


async def _status(database: Database, tenant_id: UUID) -> str:
    async with database.tx(tenant_id) as tx:
        return str((await tx.execute(text("select tenancy_status()"))).scalar_one())


async def test_a_tenant_without_a_row_is_on_the_free_plan(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    body = (await client.get("/v1/entitlements", headers=tenant.headers)).json()
    assert (body["plan"], body["version"], body["standing"]) == ("free", 0, "good")
    assert body["features"] == ["paper_trading", "webhooks"]
    assert set(body["limits"]) == {"accounts", "api_calls", "api_keys", "backtest_cells", "deployments"}


async def test_the_plans_of_the_migration_are_whole_and_grow(database: Database) -> None:
    tenant = await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        offered = (await entitlements(tx, now=NOW)).offered
    plans = sorted(offered.values(), key=lambda plan: plan.rank)
    assert [plan.title for plan in plans] == ["Free", "Developer", "Broker"]
    for smaller, larger in zip(plans, plans[1:], strict=False):
        assert larger.features >= smaller.features
        for name in QuotaName:
            more, less = larger.limits[name], smaller.limits[name]
            assert more is None or (less is not None and more > less)


async def test_plan_add_ons_and_overrides_make_what_the_api_shows(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        await assign_plan(tx, "developer", reason="signed", now=NOW)
        await set_add_on(tx, "accounts", 2, reason="asked for", now=NOW)
        override = Override(value=None, reason="pilot")
        await set_override(tx, "limits.api_keys", override, reason="pilot", now=NOW)
    body = (await client.get("/v1/entitlements", headers=tenant.headers)).json()
    assert (body["plan"], body["plan_version"], body["version"]) == ("developer", 1, 3)
    assert body["limits"]["accounts"] == 1_000 + 2 * 10
    assert body["limits"]["api_keys"] is None
    assert body["overrides"]["limits.api_keys"] == {"value": None, "reason": "pilot", "expires_at": None}


async def test_every_change_is_an_event_with_its_reason(database: Database) -> None:
    tenant = await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        await assign_plan(tx, "broker", reason="contract 12", now=NOW)
        found = (await tx.execute(text("select data from events where type = 'entitlements.changed'"))).scalar_one()
    assert found == {"version": 1, "what": "plan", "to": "broker 1", "reason": "contract 12"}


async def test_changes_at_the_same_time_are_all_kept(database: Database) -> None:
    tenant = await make_tenant(database)
    names = ("accounts", "deployments", "api_keys", "api_calls", "backtest_cells")
    await asyncio.gather(*(limit_tenant(database, tenant.tenant_id, **{name: 5}) for name in names))
    async with database.tx(tenant.tenant_id) as tx:
        found = await entitlements(tx, now=NOW)
    assert found.version == 5
    assert {name.value: limit for name, limit in found.effective.limits.items()} == dict.fromkeys(names, 5)


async def test_an_unknown_plan_or_add_on_is_refused(database: Database) -> None:
    tenant = await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        with pytest.raises(DomainError, match="No plan is called 'gold'; plans are free, developer, broker"):
            await assign_plan(tx, "gold", reason="x", now=NOW)
        with pytest.raises(DomainError, match="offers no 'accounts'; it has none"):
            await set_add_on(tx, "accounts", 1, reason="x", now=NOW)


async def test_a_feature_that_the_plan_lacks_names_the_plan_that_has_it(database: Database) -> None:
    tenant = await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        mine = await entitlements(tx, now=NOW)
        assert mine.refusal("paper_trading") is None
        refused = mine.refusal("live_trading")
        assert refused is not None and refused.code == "feature_not_in_plan"
        assert "the plan developer has it" in refused.message
        await assign_plan(tx, "developer", reason="signed", now=NOW)
        assert (await entitlements(tx, now=NOW)).refusal("live_trading") is None


@pytest.mark.parametrize("statement", ["update plans set terms = '{}'", "delete from plans", "truncate plans cascade"])
async def test_nobody_can_change_a_plan_that_is_there(database: Database, statement: str) -> None:
    for pool in (database.pool, database.reference, database.dispatch):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)


async def test_a_new_version_leaves_those_who_have_the_old_one_alone(database: Database) -> None:
    tenant = await make_tenant(database)
    first = datetime(2099, 1, 1, tzinfo=UTC)  # plans are everybody's, and stay: nobody else is offered this one
    later = first + timedelta(days=30)
    async with database.tx(tenant.tenant_id) as tx:
        await assign_plan(tx, "developer", reason="signed", now=NOW)
        old = (await entitlements(tx, now=NOW)).plan
    terms = old.model_copy(update={"title": f"Developer of {tenant.tenant_id}"})
    code = f"p{tenant.tenant_id.hex[-8:]}"
    for version, document, valid in ((1, old, first), (2, terms, later)):
        await database.reference.execute(
            "insert into plans (id, code, version, terms, valid_from) values (gen_random_uuid(), $1, $2, $3, $4)",
            code, version, document.model_dump_json(), valid,
        )  # fmt: skip
    titles = []
    for at in (first, later):
        async with database.tx(tenant.tenant_id) as tx:
            titles.append((await entitlements(tx, now=later)).plan.title)
            await assign_plan(tx, code, reason="renewed", now=at)
            titles.append((await entitlements(tx, now=later)).plan.title)
    assert titles == ["Developer", "Developer", "Developer", terms.title]
    assert isinstance(terms, PlanTerms)


async def test_past_due_is_read_only_after_its_grace_until_it_is_paid(database: Database) -> None:
    tenant = await make_tenant(database)
    today = datetime.now(UTC)
    async with database.tx(tenant.tenant_id) as tx:
        await mark_past_due(tx, today - timedelta(days=1), now=today)
        assert (await entitlements(tx)).standing is Standing.GRACE
    assert await _status(database, tenant.tenant_id) == "active"
    async with database.tx(tenant.tenant_id) as tx:
        await mark_paid(tx, now=today)
        await mark_past_due(tx, today - timedelta(days=15), now=today)
        await mark_past_due(tx, today, now=today)  # a second notice begins no new grace
        assert (await entitlements(tx)).standing is Standing.READ_ONLY
    assert await _status(database, tenant.tenant_id) == "suspended"  # for orders: exits pass, entries do not
    async with database.tx(tenant.tenant_id) as tx:
        await mark_paid(tx, now=today)
    assert await _status(database, tenant.tenant_id) == "active"


async def test_a_read_only_tenant_may_read_cancel_and_send_orders_to_be_judged(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    today = datetime.now(UTC)
    async with database.tx(tenant.tenant_id) as tx:
        await mark_past_due(tx, today - timedelta(days=60), now=today)
    refused = await client.post("/v1/api_keys", headers=tenant.headers, json={"name": "x", "scopes": ["bars:read"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "read_only")
    assert (await client.get("/v1/orders", headers=tenant.headers)).status_code == 200
    for path in ("orders/ord_/cancel", "deployments/dep_/stop", "deployments/dep_/pause"):
        answer = await client.post(f"/v1/{path.replace('_/', '_01kpx4t8yhe6rb2y6x3v1m9d0c/')}", headers=tenant.headers)
        assert answer.status_code == 404, answer.text  # looked for, so it was let through
    order = {"account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c", "instrument_id": "ins_01kpx4t8yhe6rb2y6x3v1m9d0c"}
    order |= {"side": "sell", "order_type": "market", "quantity": "1"}
    assert (await client.post("/v1/orders", headers=tenant.headers, json=order)).status_code in (404, 422)
    key = await client.get("/v1/api_keys", headers=tenant.headers)
    revoked = await client.delete(f"/v1/api_keys/{key.json()['data'][0]['id']}", headers=tenant.headers)
    assert revoked.status_code == 200
