"""`mandi tenants create`, `list`, `show`: a tenant with a door for its owner, and what its operator sees of it."""

import asyncio
import json
import re
from datetime import UTC, datetime

import pytest

from app.bootstrap import bootstrap, open_people
from app.infra.settings import Settings
from app.kernel.errors import DomainError
from app.kernel.ids import decode_id, encode_id, uuid7
from app.kernel.principal import Principal
from app.platform.identity.service import PERMISSIONS, KeyAuthenticator
from app.platform.tenancy.service import accept_invitation, create_tenant
from tests.factories.endings import Heard
from tests.integration.local.conftest import OPERATOR, Desk

KEY = re.compile(r"sk_test_in1_[0-9a-z]{12}_[0-9a-z]{52}")


def _caller(settings: Settings, key: str) -> Principal:
    async def ask() -> Principal:
        async with bootstrap(settings) as app:
            return await KeyAuthenticator(app.database, cell="in1").authenticate(key, now=datetime.now(UTC))

    return asyncio.run(ask())


def _mailed(desk: Desk, settings: Settings, to: str) -> str:
    """The token of the newest invitation mailed to the address, by the gateway's sender."""

    async def send() -> None:
        async with bootstrap(settings) as app, open_people(app, Heard()) as people:
            await people.sender.send_due()

    asyncio.run(send())
    folder = settings.data_dir / "mail"
    mails = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    found = re.search(r"token=(\S+)", [mail["text"] for mail in mails if mail["to"] == to][-1])
    assert found is not None
    return found[1]


def _accept(settings: Settings, token: str, email: str) -> str:
    async def accept() -> str:
        async with bootstrap(settings) as app:
            try:
                now = datetime.now(UTC)
                await accept_invitation(app.database, token, user_id=uuid7(), email=email, now=now)
            except DomainError as error:
                return error.code
            return "accepted"

    return asyncio.run(accept())


def test_a_tenant_with_a_first_key_can_call_and_the_key_is_shown_once(desk: Desk, app_settings: Settings) -> None:
    slug = desk.slug()
    said = desk.done("create", slug, "--name", "Acme Broking", "--key")
    (key,) = KEY.findall(said.out)
    shown = desk.shown(slug)
    caller = _caller(app_settings, key)
    assert encode_id("ten", caller.tenant_id) == shown["id"]
    assert (caller.mode, caller.scopes) == ("test", frozenset(PERMISSIONS))
    assert (shown["slug"], shown["name"], shown["status"], shown["plan"]) == (slug, "Acme Broking", "active", "free")
    secret = key.rpartition("_")[2]
    for again in (desk.done("show", slug), desk.done("show", slug, "--json"), desk.done("list")):
        assert secret not in again.text
    assert [(event["type"], event["who"]) for event in desk.events(slug)] == [
        ("tenant.created", OPERATOR),
        ("api_key.created", OPERATOR),
    ]
    assert secret not in json.dumps(desk.events(slug))


def test_an_owner_is_invited_by_mail_and_no_token_is_printed(desk: Desk, app_settings: Settings) -> None:
    slug, email = desk.slug(), f"{uuid7().hex}@example.com"
    said = desk.done("create", slug, "--name", "Acme", "--plan", "developer", "--owner-email", email)
    assert desk.shown(slug)["members"] == {"active": 0, "suspended": 0, "owners": 0, "invited": 1}
    token = _mailed(desk, app_settings, email)
    assert token not in said.text and KEY.search(said.text) is None
    assert _accept(app_settings, token, email) == "accepted"
    assert desk.shown(slug)["members"] == {"active": 1, "suspended": 0, "owners": 1, "invited": 0}
    assert [(event["type"], event["who"]) for event in desk.events(slug)] == [
        ("tenant.created", OPERATOR),
        ("entitlements.changed", OPERATOR),
        ("invitation.created", OPERATOR),
        ("member.added", None),
        ("invitation.accepted", None),
    ]
    assert "invite-owner" in said.text


def test_in_production_an_owner_is_invited_where_mail_can_be_sent_and_else_nothing_is_created(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("MANDI_ENVIRONMENT", "production"),
        ("MANDI_PUBLIC_URL", "https://mandi.example"),
        ("MANDI_SECRET_KEY", "k" * 32),
    ):
        monkeypatch.setenv(name, value)
    slug, email = desk.slug(), f"{uuid7().hex}@example.com"
    invite = ("create", slug, "--name", "Acme", "--owner-email", email)
    assert "SMTP_URL: is required in production" in desk.refused(*invite, code=78)
    assert desk.rows("select 1 from tenants where slug = $1", slug) == []
    monkeypatch.setenv("SMTP_URL", "smtps://mail.example")
    desk.done(*invite)
    assert desk.shown(slug)["members"]["invited"] == 1
    assert len(desk.rows("select 1 from mail_requests where email = $1", email)) == 1


def test_a_second_invitation_of_an_owner_takes_the_place_of_the_first(desk: Desk, app_settings: Settings) -> None:
    email = f"{uuid7().hex}@example.com"
    slug, _ = desk.made()
    desk.done("invite-owner", slug, email, "--reason", "the founder")
    first = _mailed(desk, app_settings, email)
    desk.done("invite-owner", slug, email, "--reason", "the mail was lost")
    second = _mailed(desk, app_settings, email)
    assert _accept(app_settings, first, email) == "invitation_revoked"
    assert _accept(app_settings, second, email) == "accepted"
    assert "is a member already" in desk.refused("invite-owner", slug, email, "--reason", "again")
    told = [(event["type"], event["data"], event["who"]) for event in desk.events(slug, "invitation.")]
    assert told[:3] == [
        ("invitation.created", {"role": "owner", "reason": "the founder"}, OPERATOR),
        ("invitation.revoked", {}, OPERATOR),
        ("invitation.created", {"role": "owner", "reason": "the mail was lost"}, OPERATOR),
    ]


def test_a_tenant_below_another_is_on_its_list_with_the_operators_name(desk: Desk) -> None:
    parent, told = desk.made()
    slug, child = desk.made("--parent", parent)
    again, _ = desk.made("--parent", told["id"])
    assert desk.shown(slug)["parent_id"] == desk.shown(again)["parent_id"] == told["id"]
    added = desk.events(parent, "tenant.child_added")
    assert [(event["data"]["slug"], event["who"]) for event in added] == [(slug, OPERATOR), (again, OPERATOR)]
    listed = desk.rows("select id from child_tenants where tenant_id = $1", decode_id("ten", told["id"]))
    assert child["id"] in {encode_id("ten", row["id"]) for row in listed}
    assert f"below {parent} ({told['id']})" in desk.done("show", slug).text


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--key", "--owner-email", "a@example.com"], "--owner-email / --key: give one of the two"),
        ([], "--owner-email / --key: give one of the two"),
        (["--key", "--plan", "gold"], "plan: No plan is called 'gold'; plans are free, developer, broker."),
        (["--owner-email", "nobody"], "email: email must look like name@example.com."),
        (["--key", "--name", " "], "name: name takes 1 to 100 printable characters"),
        (["--key", "--name", "two\nlines"], "name: name takes 1 to 100 printable characters"),
    ],
)
def test_what_cannot_be_created_names_the_field_and_leaves_nothing(desk: Desk, wrong: list[str], says: str) -> None:
    parent, told = desk.made()
    slug = desk.slug()
    assert says in desk.refused("create", slug, "--name", "Acme", "--parent", parent, *wrong)
    assert desk.rows("select 1 from tenants where slug = $1", slug) == []
    assert desk.rows("select 1 from child_tenants where tenant_id = $1", decode_id("ten", told["id"])) == []
    assert desk.events(parent, "tenant.child_added") == []
    assert desk.rows("select 1 from events where data ->> 'slug' = $1", slug) == []


def test_a_slug_is_free_and_has_its_form_and_a_parent_exists_and_stays(desk: Desk) -> None:
    slug, _ = desk.made()
    assert f"slug: A tenant '{slug}' exists already" in desk.refused("create", slug, "--name", "x", "--key")
    assert "slug: slug takes 1 to 40 of a-z" in desk.refused("create", "Acme!", "--name", "x", "--key")
    fresh = ("create", desk.slug(), "--name", "x", "--key", "--parent")
    assert "parent: No tenant has the slug or id 'nobody'" in desk.refused(*fresh, "nobody")
    assert "parent: 'ten_1' is not an id" in desk.refused(*fresh, "ten_1")
    desk.done("close", slug, "--reason", "gone", "--yes", slug)
    assert "parent: The parent is closing: name another one." in desk.refused(*fresh, slug)
    assert desk.rows("select 1 from tenants where slug = $1", fresh[1]) == []


def test_two_tenants_of_one_slug_are_told_apart_by_their_ids(desk: Desk, app_settings: Settings) -> None:
    slug, told = desk.made()

    async def twin() -> str:
        async with bootstrap(app_settings) as app:
            return encode_id("ten", await create_tenant(app.database, slug=slug, name="Twin"))

    other = asyncio.run(twin())
    refused = desk.refused("suspend", slug, "--reason", "which one?")
    assert f"tenant: Several tenants have this slug: name one by its id, {told['id']}, {other}." in refused
    assert desk.shown(other)["name"] == "Twin"
    desk.done("suspend", other, "--reason", "this one")
    assert (desk.shown(told["id"])["status"], desk.shown(other)["status"]) == ("active", "suspended")
    listed = desk.done("list").out
    assert f"\n {told['id']} " in listed and f"\n {other} " in listed


def test_the_list_is_the_newest_first_fits_eighty_columns_and_has_json(desk: Desk) -> None:
    long = f"{desk.slug()}-{'x' * 25}"[:40]
    desk.done("create", long, "--name", "A name that is far too long for a table " * 2, "--key", "--plan", "developer")
    slug, _ = desk.made()
    desk.done("suspend", slug, "--reason", "late")
    desk.done("payment", slug, "past-due")
    rows = json.loads(desk.done("list", "--limit", "2", "--json").out)
    assert [(row["slug"], row["status"], row["plan"], row["standing"]) for row in rows] == [
        (slug, "suspended", "free", "grace"),
        (long, "active", "developer", "good"),
    ]
    table = desk.done("list", "--limit", "2").out
    assert max(len(line) for line in table.splitlines()) <= 80
    assert f"\n {long} " in table and "…" in table
    assert all(word in table for word in (f"\n {slug} ", "suspended", "grace", "developer"))
    assert "--limit" in desk.refused("list", "--limit", "0")


def test_one_tenant_is_shown_whole_on_eighty_columns(desk: Desk) -> None:
    slug, told = desk.made("--plan", "developer")
    desk.done("add-on", slug, "accounts", "2", "--reason", "asked for")
    desk.done("override", slug, "limits.api_keys", "unlimited", "--reason", "pilot " * 20, "--until", "2999-01-31")
    desk.done("override", slug, "rates.orders", "quota=5,window_s=1,per_credential=3", "--reason", "too fast")
    shown = desk.done("show", slug)
    assert max(len(line) for line in shown.out.splitlines()) <= 80
    for part in (
        f"id {told['id']}",
        "members 0 active (0 owners), 0 suspended, 0 invited",
        "plan developer, version 1",
        "features live_trading, paper_trading, webhooks",
        "add-ons accounts × 2",
        "limits.api_keys: unlimited until 2999-01-31 00:00 UTC; pilot",
        "rates.orders: 5 in 1 s, 3 a key; too fast",
        "accounts 0 1,020 standing",
        "api_keys 1 unlimited standing",
        f"api_calls 0 100,000,000 {datetime.now(UTC):%Y-%m}",
    ):
        assert part in shown.text
    facts = desk.shown(slug)
    assert facts["overrides"]["limits.api_keys"]["expires_at"] == "2999-01-31T00:00:00Z"
    assert facts["rates"]["orders"] == {"quota": 5, "window_s": 1, "per_credential": 3}
    used = {one["name"]: (one["used"], one["limit"]) for one in facts["usage"]}
    assert (used["api_keys"], used["accounts"]) == ((1, None), (0, 1020))
