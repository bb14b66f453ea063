"""What `mandi tenants` changes: state, plan, exceptions and payments, each with its reason and the operator's name."""

import getpass
from datetime import UTC, datetime, timedelta

import pytest

from app.kernel.ids import decode_id
from app.platform.tenancy.domain import CLOSING_GRACE
from tests.integration.local.conftest import OPERATOR, Desk

WHY = ("--reason", "ticket 42")


def test_a_tenant_is_suspended_and_reactivated_once_each_with_the_reason(desk: Desk) -> None:
    slug, told = desk.made()
    assert "is suspended: it can read" in desk.done("suspend", slug, *WHY).out
    assert desk.shown(slug)["status"] == "suspended"
    assert desk.done("suspend", told["id"], *WHY).out.startswith("nothing changed: ")
    assert f"{slug} ({told['id']}) is active" in desk.done("reactivate", slug, "--reason", "paid").out
    assert desk.done("reactivate", slug, *WHY).out.startswith("nothing changed: ")
    assert desk.shown(slug)["status"] == "active"
    assert desk.events(slug, "tenant.status_changed") == [
        {"type": "tenant.status_changed", "data": {"status": "suspended", "reason": "ticket 42"}, "who": OPERATOR},
        {"type": "tenant.status_changed", "data": {"status": "active", "reason": "paid"}, "who": OPERATOR},
    ]


def test_closing_takes_the_slug_typed_and_ends_the_keys_for_ever(desk: Desk) -> None:
    slug, told = desk.made()
    tenant_id = decode_id("ten", told["id"])
    assert "'yes' is not its slug" in desk.refused("close", slug, *WHY, typed="yes\n")
    assert "nothing was changed" in desk.refused("close", slug, *WHY, "--yes", told["id"])
    desk.refused("close", slug, *WHY, typed="", code=1)
    assert desk.events(slug, "tenant.closing") == [] and desk.shown(slug)["status"] == "active"
    closed = desk.done("close", told["id"], *WHY, typed=f"{slug}\n")
    assert "Type its slug" in closed.err and "is closing" in closed.out
    (event,) = desk.events(slug, "tenant.closing")
    assert (event["who"], event["data"]["reason"], event["data"]["keys_revoked"]) == (OPERATOR, "ticket 42", 1)
    closes_at = datetime.fromisoformat(desk.shown(slug)["closes_at"])
    assert timedelta(0) <= datetime.now(UTC) + CLOSING_GRACE - closes_at < timedelta(minutes=5)
    assert desk.rows("select 1 from api_keys where tenant_id = $1 and revoked_at is null", tenant_id) == []
    assert desk.done("close", slug, *WHY, "--yes", slug).out.startswith("nothing changed: ")
    assert "reactivate it first" in desk.refused("suspend", slug, *WHY, code=1)
    assert desk.shown(slug)["status"] == "closing"
    assert "may be purged after" in desk.done("show", slug).text
    desk.done("reactivate", slug, *WHY)
    assert (desk.shown(slug)["status"], desk.shown(slug)["closes_at"]) == ("active", None)
    assert desk.rows("select 1 from api_keys where tenant_id = $1 and revoked_at is null", tenant_id) == []


def test_a_closing_that_redis_cannot_be_told_of_says_what_lives_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    slug, _ = desk.made()
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    closed = desk.done("close", slug, *WHY, "--yes", slug)
    assert "end within five minutes" in closed.err
    assert desk.shown(slug)["status"] == "closing"


def test_a_plan_and_add_ons_are_given_and_what_is_not_offered_is_refused(desk: Desk) -> None:
    slug, _ = desk.made()
    assert "name: The plan free offers no 'accounts'; it has none." in desk.refused(
        "add-on", slug, "accounts", "1", *WHY
    )
    desk.done("plan", slug, "developer", "--reason", "signed")
    desk.done("add-on", slug, "accounts", "2", "--reason", "asked for")
    shown = desk.shown(slug)
    assert (shown["plan"], shown["add_ons"]) == ("developer", {"accounts": 2})
    desk.done("add-on", slug, "accounts", "0", *WHY)
    assert desk.shown(slug)["add_ons"] == {}
    for wrong, says in (
        (("plan", slug, "gold", *WHY), "plan: No plan is called 'gold'; plans are free, developer, broker."),
        (("add-on", slug, "gold", "1", *WHY), "it has accounts, backtest_cells, deployments."),
        (("add-on", slug, "accounts", "-1", *WHY), "No such option"),
        (("add-on", slug, "accounts", "two", *WHY), "UNITS"),
        (("plan", slug, "broker"), "--reason"),
        (("plan", slug, "broker", "--reason", "  "), "say why in 1 to 500 printable characters"),
        (("plan", "nobody", "broker", *WHY), "tenant: No tenant has the slug or id 'nobody'"),
    ):
        assert says.lower() in desk.refused(*wrong).lower()
    assert [(event["data"]["what"], event["data"]["to"], event["data"]["reason"], event["who"])
            for event in desk.events(slug, "entitlements.")] == [
        ("plan", "developer 1", "signed", OPERATOR),
        ("add_ons.accounts", "2", "asked for", OPERATOR),
        ("add_ons.accounts", "0", "ticket 42", OPERATOR),
    ]  # fmt: skip


def test_an_override_holds_until_its_end_or_until_it_is_cleared(desk: Desk) -> None:
    slug, _ = desk.made()
    desk.done("override", slug, "limits.accounts", "150", "--until", "2999-12-31T18:30:00+05:30", *WHY)
    desk.done("override", slug, "features.live_trading", "on", *WHY)
    desk.done("override", slug, "rates.orders", "quota=10,window_s=60,per_credential=5", *WHY)
    shown = desk.shown(slug)
    assert shown["overrides"]["limits.accounts"] == {
        "value": 150, "reason": "ticket 42", "expires_at": "2999-12-31T13:00:00Z",
    }  # fmt: skip
    assert "live_trading" in shown["features"] and shown["rates"]["orders"]["quota"] == 10
    assert "follows its plan" in desk.done("override", slug, "limits.accounts", "--clear", *WHY).out
    assert sorted(desk.shown(slug)["overrides"]) == ["features.live_trading", "rates.orders"]
    before = len(desk.events(slug))
    for wrong, says in (
        (("limits.acounts", "5"), "KEY: 'limits.acounts' cannot be overridden"),
        (("limits.accounts", "5", "--until", "2001-01-01"), "--until: must lie in the future"),
        (("limits.accounts", "5", "--until", "soon"), "--until: 'soon' is no time"),
        (("limits.accounts",), "VALUE: give a value, or --clear"),
        (("limits.accounts", "5", "--clear"), "VALUE: give a value, or --clear"),
        (("limits.accounts", "--clear", "--until", "2999-01-01"), "--until: --clear ends it now"),
        (("limits.accounts", "--clear"), "key: 'limits.accounts' is not overridden; overridden are features.live"),
        (("rates.orders", "quota=5,window_s=60,per_credential=6"), "per_credential must be at most quota"),
    ):
        assert says in desk.refused("override", slug, *wrong, *WHY)
    assert len(desk.events(slug)) == before


def test_a_missing_payment_begins_grace_once_and_a_payment_ends_it(desk: Desk) -> None:
    slug, told = desk.made()
    assert desk.done("payment", slug, "ok").out.startswith("nothing changed: ")
    assert desk.rows("select 1 from entitlements where tenant_id = $1", decode_id("ten", told["id"])) == []
    since = datetime.now(UTC) - timedelta(days=10)
    said = desk.done("payment", slug, "past-due", "--since", since.isoformat())
    assert f"read only from {since + timedelta(days=14):%Y-%m-%d %H:%M} UTC" in said.out
    assert desk.shown(slug)["standing"] == "grace"
    assert "payments grace, past due since" in desk.done("show", slug).text
    assert desk.done("payment", slug, "past-due").out.startswith("nothing changed: ")
    assert "has paid" in desk.done("payment", slug, "ok").out
    assert desk.shown(slug)["standing"] == "good"
    assert desk.done("payment", slug, "ok").out.startswith("nothing changed: ")
    desk.done("payment", slug, "past-due", "--since", "2001-01-31")
    assert desk.shown(slug)["standing"] == "read_only"
    before = desk.events(slug, "entitlements.")
    assert [event["data"]["to"] for event in before] == ["past_due", "good", "past_due"]
    assert {event["who"] for event in before} == {OPERATOR}
    assert "--since: must not lie in the future" in desk.refused("payment", slug, "past-due", "--since", "2999-01-01")
    assert "--since: only goes with past-due" in desk.refused("payment", slug, "ok", "--since", "2001-01-01")
    assert "is not one of 'ok', 'past-due'" in desk.refused("payment", slug, "late")
    assert desk.events(slug, "entitlements.") == before


def test_the_operator_is_who_says_so_or_the_systems_user_and_never_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug, _ = desk.made()
    desk.done("--operator", "ravi", "suspend", slug, *WHY)
    monkeypatch.delenv("MANDI_OPERATOR")
    desk.done("reactivate", slug, *WHY)
    who = [event["who"] for event in desk.events(slug, "tenant.status_changed")]
    assert who == ["ravi", getpass.getuser()]
    for name in (" ", "x" * 65, "two\nlines"):
        assert "--operator: say who you are" in desk.refused("--operator", name, "suspend", slug, *WHY)
    monkeypatch.setattr(getpass, "getuser", _nobody)
    assert "--operator: say who you are" in desk.refused("suspend", slug, *WHY)
    assert desk.shown(slug)["status"] == "active"


def _nobody() -> str:
    raise KeyError("a container's user has no name")


def test_a_database_that_is_away_or_a_role_that_sees_too_much_is_one_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_DATABASE_URL", desk.admin)
    assert "would see past row-level security" in desk.refused("list", code=1)
    monkeypatch.setenv("APP_DATABASE_URL", "postgresql://mandi_app:hidden-word@127.0.0.1:1/mandi")
    said = desk.refused("list", code=1)
    assert "the database does not let us in" in said and "hidden-word" not in said and "Traceback" not in said
