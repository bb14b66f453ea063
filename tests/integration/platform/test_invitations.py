"""Invitations: one door for one address, opened once; the token is in the mail and nowhere else."""

import asyncio
import re
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.infra.database import Database, Tx
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id, uuid7
from app.platform.tenancy.domain import INVITATION_LIFE, Role
from app.platform.tenancy.ports import InvitationLetter
from app.platform.tenancy.service import (
    accept_invitation,
    create_invitation,
    get_member,
    resend_invitation,
    revoke_invitation,
)
from tests.factories.members import make_person
from tests.factories.tenants import make_key, make_tenant
from tests.integration.platform.conftest import now

pytestmark = pytest.mark.asyncio
EMAIL = "ravi@example.com"


@dataclass
class Letters:
    """Keeps what would be mailed."""

    sent: list[InvitationLetter] = field(default_factory=list)

    async def invite(self, tx: Tx, letter: InvitationLetter) -> None:
        self.sent.append(letter)


async def _invited(database: Database, role: str = "trader") -> tuple[UUID, UUID, Letters]:
    tenant, letters = await make_tenant(database), Letters()
    async with database.tx(tenant.tenant_id) as tx:
        row = await create_invitation(tx, email=EMAIL, role=role, inviter=letters, now=now())
    return tenant.tenant_id, row.id, letters


async def _accept(database: Database, token: str, email: str = EMAIL, **terms: timedelta) -> str:
    try:
        later = now() + terms.get("after", timedelta(0))
        await accept_invitation(database, token, user_id=uuid7(), email=email, now=later)
    except DomainError as error:
        return error.code
    return "accepted"


async def test_an_accepted_invitation_is_a_member(database: Database) -> None:
    tenant_id, _, letters = await _invited(database)
    user_id = uuid7()
    made = await accept_invitation(
        database, letters.sent[0].token, user_id=user_id, email=" Ravi@Example.com ", now=now()
    )
    assert made.tenant_id == tenant_id
    async with database.tx(tenant_id) as tx:
        member = await get_member(tx, made.member_id)
        types = set((await tx.execute(text("select type from events"))).scalars())
    assert (member.email, member.role, member.user_id, member.status) == (EMAIL, "trader", user_id, "active")
    assert {"invitation.created", "invitation.accepted", "member.added"} <= types


async def test_it_opens_once_even_for_many_at_once(database: Database) -> None:
    _, _, letters = await _invited(database)
    answers = await asyncio.gather(*(_accept(database, letters.sent[0].token) for _ in range(8)))
    assert sorted(answers) == ["accepted"] + ["invitation_used"] * 7


async def test_it_opens_to_its_address_within_seven_days(database: Database) -> None:
    _, _, letters = await _invited(database)
    token = letters.sent[0].token
    assert await _accept(database, token, "mallory@example.com") == "invitation_for_another"
    assert await _accept(database, token, after=INVITATION_LIFE) == "invitation_expired"
    assert await _accept(database, token[:-1]) == "invitation_not_found"
    assert await _accept(database, "") == "invitation_not_found"
    assert await _accept(database, token, after=INVITATION_LIFE - timedelta(minutes=1)) == "accepted"


async def test_a_revoked_one_opens_nothing(database: Database) -> None:
    tenant_id, invitation_id, letters = await _invited(database)
    for _ in range(2):
        async with database.tx(tenant_id) as tx:
            await revoke_invitation(tx, invitation_id, now=now())
    assert await _accept(database, letters.sent[0].token) == "invitation_revoked"


async def test_one_that_was_sent_again_opens_by_the_latest_link_only(database: Database) -> None:
    tenant_id, invitation_id, letters = await _invited(database)
    async with database.tx(tenant_id) as tx:
        await resend_invitation(tx, invitation_id, inviter=letters, now=now())
    assert await _accept(database, letters.sent[0].token) == "invitation_not_found"
    assert await _accept(database, letters.sent[1].token) == "accepted"


async def test_no_token_is_stored_told_or_shown(database: Database) -> None:
    tenant_id, _, letters = await _invited(database)
    letter = letters.sent[0]
    assert re.fullmatch(r"mandi_inv_[\w-]{43}", letter.token)
    assert letter.token not in repr(letter)
    async with database.tx(tenant_id) as tx:
        for table in ("invitations", "events"):
            rows = (await tx.execute(text(f"SELECT t::text FROM {table} t"))).scalars().all()
            assert rows
            assert not [row for row in rows if letter.token[10:] in row]


async def test_an_address_is_invited_once_at_a_time(database: Database) -> None:
    tenant_id, _, letters = await _invited(database)

    async def again(at_days: int) -> str:
        try:
            async with database.tx(tenant_id) as tx:
                later = now() + timedelta(days=at_days)
                await create_invitation(tx, email=EMAIL, role="analyst", inviter=letters, now=later)
        except DomainError as error:
            return error.code
        return "invited"

    assert await again(0) == "invitation_pending"
    assert sorted(await asyncio.gather(*(again(8) for _ in range(4)))) == ["invitation_pending"] * 3 + ["invited"]
    assert await _accept(database, letters.sent[0].token) == "invitation_revoked"


async def test_invitations_through_the_api(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await client.post("/v1/invitations", headers=tenant.headers, json={"email": EMAIL, "role": "trader"})
    assert made.status_code == 201, made.text
    assert "mandi_inv_" not in made.text
    path = f"/v1/invitations/{made.json()['id']}"
    assert (await client.post(f"{path}/resend", headers=tenant.headers)).status_code == 200
    assert (await client.get("/v1/invitations", headers=tenant.headers)).json()["data"][0]["email"] == EMAIL
    shown = await client.get(path, headers=tenant.headers)
    assert (shown.status_code, shown.json()["email"]) == (200, EMAIL) and "mandi_inv_" not in shown.text
    first, second = [await client.delete(path, headers=tenant.headers) for _ in range(2)]
    assert first.json()["revoked_at"] == second.json()["revoked_at"] is not None
    assert (await client.get(path, headers=tenant.headers)).json() == first.json()
    refused = await client.post(f"{path}/resend", headers=tenant.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "invitation_revoked")


async def test_one_invitation_is_shown_to_whoever_may_list_them_and_to_no_other_tenant(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant, other = await make_tenant(database), await make_tenant(database)
    made = await client.post("/v1/invitations", headers=tenant.headers, json={"email": EMAIL, "role": "trader"})
    path = f"/v1/invitations/{made.json()['id']}"
    (listed,) = (await client.get("/v1/invitations", headers=tenant.headers)).json()["data"]
    assert (await client.get(path, headers=tenant.headers)).json() == listed
    blind = await make_key(database, tenant.tenant_id, scopes=["members:read", "invitations:write"])
    for headers, said in ((blind.headers, (403, "missing_scope")), (other.headers, (404, "invitation_not_found"))):
        refused = await client.get(path, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == said


async def test_nobody_invites_beyond_himself_nor_an_owner(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    limited = await make_person(
        database, tenant.tenant_id, scopes=["invitations:write", "orders:read", "instruments:read"]
    )
    beyond = await client.post("/v1/invitations", headers=limited.headers, json={"email": EMAIL, "role": "trader"})
    assert (beyond.status_code, beyond.json()["code"]) == (403, "role_beyond_caller")
    owner = await client.post("/v1/invitations", headers=tenant.headers, json={"email": EMAIL, "role": "owner"})
    assert (owner.status_code, owner.json()["code"]) == (403, "owner_by_approval")


async def test_a_member_is_not_invited_and_one_who_left_is_taken_back(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant, letters = await make_tenant(database), Letters()
    person = await make_person(database, tenant.tenant_id, Role.TRADER)
    body = {"email": person.email.upper(), "role": "analyst"}
    known = await client.post("/v1/invitations", headers=tenant.headers, json=body)
    assert (known.status_code, known.json()["code"]) == (409, "member_exists")
    await client.delete(f"/v1/members/{person.member}", headers=tenant.headers)
    async with database.tx(tenant.tenant_id) as tx:
        await create_invitation(tx, email=person.email, role="analyst", inviter=letters, now=now())
    made = await accept_invitation(
        database, letters.sent[0].token, user_id=person.user_id, email=person.email, now=now()
    )
    assert encode_id("mem", made.member_id) == person.member
    assert (await client.get(f"/v1/members/{person.member}", headers=tenant.headers)).json()["role"] == "analyst"
    assert (await client.get("/v1/strategies", headers=person.headers)).status_code == 200
