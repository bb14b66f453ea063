"""What takes two people: whoever proposes cannot decide, exactly what was approved happens, and it happens once."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from app.infra.database import Database, Tx
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id, uuid7
from app.platform.tenancy.domain import APPROVAL_LIFE, Action, Role
from app.platform.tenancy.service import approve, create_tenant, execute, get_approval, propose, reject
from tests.factories.logins import logged_in
from tests.factories.members import Person, make_person
from tests.factories.tenants import make_tenant
from tests.integration.platform.conftest import now

pytestmark = pytest.mark.asyncio
CLEAR = {"account_id": encode_id("acc", uuid7()), "rule": "daily_loss"}


class AnySubject:
    """Tenancy's ports `Accounts` and `Halts`, where no test looks at them."""

    async def check(self, tx: Tx, subject_id: UUID) -> None:
        pass

    async def check_transaction(self, tx: Tx, transaction_id: UUID) -> None:
        pass


ANY = AnySubject()


async def _two(database: Database, role: Role = Role.OWNER) -> tuple[Person, Person]:
    tenant = await make_tenant(database)
    return await make_person(database, tenant.tenant_id), await make_person(database, tenant.tenant_id, role)


async def _run(database: Database, who: Person, act: Callable[[Tx], Awaitable[object]]) -> str:
    try:
        async with database.tx(who.tenant_id, who.present) as tx:
            await act(tx)
    except DomainError as error:
        return error.code
    return "done"


async def _proposed(database: Database, maker: Person) -> UUID:
    async with database.tx(maker.tenant_id, maker.principal) as tx:
        return (await propose(tx, Action.CLEAR_RISK_LIMIT, CLEAR, accounts=ANY, halts=ANY, now=now())).id


async def _approved(database: Database, maker: Person, checker: Person) -> UUID:
    approval_id = await _proposed(database, maker)
    assert await _run(database, checker, lambda tx: approve(tx, approval_id, now=now())) == "done"
    return approval_id


async def _execute(database: Database, who: Person, approval_id: UUID | None, **changed: str) -> str:
    return await _run(
        database,
        who,
        lambda tx: execute(tx, approval_id, Action.CLEAR_RISK_LIMIT, CLEAR | changed, now=now()),
    )


async def test_the_maker_cannot_check_with_any_key(database: Database) -> None:
    maker, _ = await _two(database)
    approval_id = await _proposed(database, maker)
    assert await _run(database, maker, lambda tx: approve(tx, approval_id, now=now())) == "maker_cannot_check"
    assert (
        await _run(database, maker, lambda tx: reject(tx, approval_id, reason="x", now=now())) == "maker_cannot_check"
    )
    assert await _execute(database, maker, approval_id) == "approval_not_granted"


async def test_concurrent_executions_happen_once(database: Database) -> None:
    maker, checker = await _two(database)
    approval_id = await _approved(database, maker, checker)
    answers = await asyncio.gather(*(_execute(database, maker, approval_id) for _ in range(8)))
    assert sorted(answers) == ["approval_not_granted"] * 7 + ["done"]


async def test_an_execution_that_fails_afterwards_can_be_repeated(database: Database) -> None:
    maker, checker = await _two(database)
    approval_id = await _approved(database, maker, checker)
    with pytest.raises(ZeroDivisionError):
        async with database.tx(maker.tenant_id, maker.principal) as tx:
            await execute(tx, approval_id, Action.CLEAR_RISK_LIMIT, CLEAR, now=now())
            raise ZeroDivisionError
    assert await _execute(database, maker, approval_id) == "done"


async def test_of_concurrent_decisions_one_counts(database: Database) -> None:
    maker, checker = await _two(database)
    third = await make_person(database, maker.tenant_id)
    approval_id = await _proposed(database, maker)
    answers = await asyncio.gather(
        *(_run(database, who, lambda tx: approve(tx, approval_id, now=now())) for who in (checker, third, checker)),
        _run(database, third, lambda tx: reject(tx, approval_id, reason="no", now=now())),
    )
    assert sorted(answers) == ["approval_decided"] * 3 + ["done"]


async def test_a_changed_payload_or_another_action_is_refused(database: Database) -> None:
    maker, checker = await _two(database)
    approval_id = await _approved(database, maker, checker)
    assert await _execute(database, maker, approval_id, rule="position") == "approval_mismatch"
    payload = {"member_id": "mem_1"}
    other = await _run(database, maker, lambda tx: execute(tx, approval_id, Action.MAKE_OWNER, payload, now=now()))
    assert other == "approval_mismatch"
    assert await _execute(database, maker, None) == "approval_needed"
    assert await _execute(database, maker, uuid7()) == "approval_not_found"
    assert await _execute(database, checker, approval_id) == "not_the_maker"


async def test_a_rejected_or_expired_one_permits_nothing(database: Database) -> None:
    maker, checker = await _two(database)
    rejected = await _proposed(database, maker)
    assert await _run(database, checker, lambda tx: reject(tx, rejected, reason="no", now=now())) == "done"
    assert await _execute(database, maker, rejected) == "approval_not_granted"
    late = await _approved(database, maker, checker)
    after = now() + APPROVAL_LIFE + timedelta(seconds=1)
    expired = await _run(database, maker, lambda tx: execute(tx, late, Action.CLEAR_RISK_LIMIT, CLEAR, now=after))
    assert expired == "approval_expired"
    pending = await _proposed(database, maker)
    assert await _run(database, checker, lambda tx: approve(tx, pending, now=after)) == "approval_expired"


async def test_the_checker_is_a_person_with_the_actions_own_permission(database: Database) -> None:
    maker, officer = await _two(database, Role.COMPLIANCE_OFFICER)
    approval_id = await _proposed(database, maker)
    assert await _run(database, officer, lambda tx: approve(tx, approval_id, now=now())) == "action_not_permitted"
    risk = await make_person(database, maker.tenant_id, Role.RISK_OFFICER)
    assert await _run(database, risk, lambda tx: approve(tx, approval_id, now=now())) == "done"


async def test_a_key_without_a_person_can_neither_make_nor_check(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    maker = await make_person(database, tenant.tenant_id)
    body = {"action": "risk_limit.clear", "payload": CLEAR}
    made = await client.post("/v1/approvals", headers=tenant.headers, json=body)
    assert (made.status_code, made.json()["code"]) == (403, "approval_needs_person")
    path = f"/v1/approvals/{encode_id('apr', await _proposed(database, maker))}/approve"
    checked = await client.post(path, headers=tenant.headers)
    assert (checked.status_code, checked.json()["code"]) == (403, "approval_needs_person")


async def test_whoever_approves_has_just_logged_in(
    client: httpx.AsyncClient, gateway_app: FastAPI, database: Database
) -> None:
    maker, checker = await _two(database)
    path = f"/v1/approvals/{encode_id('apr', await _proposed(database, maker))}/approve"
    by_key = await client.post(path, headers=checker.headers)
    assert (by_key.status_code, by_key.json()["code"]) == (403, "login_needed")
    stale = await logged_in(gateway_app, database, checker, ago=timedelta(minutes=11))
    late = await client.post(path, headers=stale)
    assert (late.status_code, late.json()["code"]) == (401, "insufficient_user_authentication")
    challenge = late.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer ") and 'error="insufficient_user_authentication"' in challenge
    assert challenge.endswith("max_age=600")
    fresh = await logged_in(gateway_app, database, checker)
    assert (await client.post(path, headers=fresh)).json()["status"] == "approved"


async def test_an_owner_is_made_by_two_people(
    client: httpx.AsyncClient, gateway_app: FastAPI, database: Database
) -> None:
    maker, checker = await _two(database, Role.ADMIN)
    member = f"/v1/members/{checker.member}"
    alone = await client.patch(member, headers=maker.headers, json={"role": "owner"})
    assert (alone.status_code, alone.json()["code"]) == (409, "approval_needed")
    assert "member.make_owner" in alone.json()["detail"] and checker.member in alone.json()["detail"]
    body = {"action": "member.make_owner", "payload": {"member_id": checker.member}}
    made = await client.post("/v1/approvals", headers=maker.headers, json=body)
    assert (made.status_code, made.json()["status"]) == (201, "pending"), made.text
    path = f"/v1/approvals/{made.json()['id']}"
    own = await client.post(f"{path}/approve", headers=await logged_in(gateway_app, database, maker))
    assert (own.status_code, own.json()["code"]) == (403, "maker_cannot_check")
    agreed = await client.post(f"{path}/approve", headers=await logged_in(gateway_app, database, checker))
    assert (agreed.status_code, agreed.json()["status"]) == (200, "approved")
    change = {"role": "owner", "approval_id": made.json()["id"]}
    elsewhere = await client.patch(f"/v1/members/{maker.member}", headers=maker.headers, json=change)
    assert elsewhere.json()["role"] == "owner"  # he is already: nothing is used up
    done = await client.patch(member, headers=maker.headers, json=change)
    assert (done.status_code, done.json()["role"]) == (200, "owner")
    assert (await client.get(path, headers=maker.headers)).json()["status"] == "executed"
    await client.patch(member, headers=maker.headers, json={"role": "admin"})
    again = await client.patch(member, headers=maker.headers, json=change)
    assert (again.status_code, again.json()["code"]) == (409, "approval_not_granted")


async def test_only_what_is_there_can_be_proposed(client: httpx.AsyncClient, database: Database) -> None:
    maker, _ = await _two(database)
    stranger, _ = await _two(database)
    below, theirs = [
        await create_tenant(database, slug="below", name="Below", parent_id=who.tenant_id) for who in (maker, stranger)
    ]
    account, foreign = [await _account(client, who) for who in (maker, stranger)]
    for action, name, own, other, rest in (
        ("member.make_owner", "member_id", maker.member, stranger.member, {}),
        ("tenant.act_as_live", "tenant_id", encode_id("ten", below), encode_id("ten", theirs), {"reason": "why"}),
        ("risk_limit.clear", "account_id", account, foreign, {"rule": "daily_loss"}),
    ):

        async def asked(given: str, action: str = action, name: str = name, rest: Any = rest) -> tuple[int, Any]:
            body = {"action": action, "payload": {name: given} | rest}
            answer = await client.post("/v1/approvals", headers=maker.headers, json=body)
            return answer.status_code, answer.json()

        absent = encode_id(own[:3], uuid7())
        assert (await asked(own))[0] == 201
        for given in (other, absent):
            status, said = await asked(given)
            assert (status, said["code"]) == (404, f"{name.removesuffix('_id')}_not_found")
            assert given in said["detail"]
        status, said = await asked("nonsense")
        assert (status, said["code"], said["param"]) == (422, "invalid_id", f"payload.{name}")
    listed = (await client.get("/v1/approvals", headers=maker.headers)).json()["data"]
    assert len(listed) == 3, "what was refused is not kept"


async def _account(client: httpx.AsyncClient, who: Person) -> str:
    body = {"name": "a", "currency": "USD", "opening_balance": "1000.00"}
    answer = await client.post("/v1/accounts", headers=who.headers, json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_rejecting_and_listing_through_the_api(client: httpx.AsyncClient, database: Database) -> None:
    maker, checker = await _two(database)
    path = f"/v1/approvals/{encode_id('apr', await _proposed(database, maker))}"
    answer = await client.post(f"{path}/reject", headers=checker.headers, json={"reason": "not today"})
    assert (answer.status_code, answer.json()["decision_reason"]) == (200, "not today")
    listed = (await client.get("/v1/approvals", headers=maker.headers)).json()["data"]
    assert [row["status"] for row in listed] == ["rejected"]
    wrong = await client.post(
        "/v1/approvals", headers=maker.headers, json={"action": "risk_limit.clear", "payload": {"rule": "x"}}
    )
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_payload")


async def test_the_database_itself_refuses_a_maker_who_checks(database: Database) -> None:
    from sqlalchemy.exc import IntegrityError

    maker, _ = await _two(database)
    approval_id = await _proposed(database, maker)
    with pytest.raises(IntegrityError, match="two_people"):
        async with database.tx(maker.tenant_id) as tx:
            row = await get_approval(tx, approval_id)
            row.status, row.checked_by = "approved", maker.user_id
