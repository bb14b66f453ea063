"""A dry run of a backtest: the plan and its cost, the same refusals, and no row."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.integration.insight.conftest import Desk, instrument

pytestmark = pytest.mark.integration


async def _rehearse(desk: Desk, **changes: Any) -> httpx.Response:
    body: dict[str, Any] = {
        "template": "sma_cross",
        "instruments": [instrument("IBM", "XNYS")],
        "start": "2003-01-01",
        "cash": "100000",
        "charges": "us_equity",
    }
    headers = desk.tenant.headers | {"Idempotency-Key": "rehearsal"}
    return await desk.client.post("/v1/backtests?dry_run=true", headers=headers, json=body | changes)


async def test_a_dry_run_shows_the_plan_and_its_cost_and_writes_nothing(desk: Desk) -> None:
    answer = await _rehearse(desk)
    assert answer.status_code == 200, answer.text
    plan = answer.json()
    async with desk.app.database.tx(desk.tenant.tenant_id) as tx:
        for table in ("backtests", "work_items", "idempotency_keys", "events where type like 'backtest.%'"):
            assert (await tx.execute(text(f"select count(*) from {table}"))).scalar_one() == 0, table
    queued = (await desk.post()).json()
    assert {name: plan[name] for name in ("digest", "currency", "cash", "bars")} == {
        name: queued[name] for name in ("digest", "currency", "cash", "bars")
    }
    assert plan["values"] == plan["bars"]
    assert 0 < plan["cost"] <= plan["cost_limit"]
    assert [one["symbol"] for one in plan["data"]] == ["IBM"]


async def test_a_dry_run_refuses_what_the_real_call_refuses(desk: Desk) -> None:
    changes = {"end": "1999-01-01"}
    answers = [await _rehearse(desk, **changes), await desk.post(**changes)]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert len({answer.json()["code"] for answer in answers}) == 1
