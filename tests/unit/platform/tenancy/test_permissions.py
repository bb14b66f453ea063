"""Who may what: the one conjunction, the table of roles, and that nobody hands on more than he has."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.errors import DomainError, Kind
from app.platform.tenancy.domain import (
    ACTION_FIELDS,
    ACTION_PERMISSION,
    BUILT_IN,
    NOT_DELEGABLE,
    PERMISSIONS,
    Action,
    Role,
    Standing,
    TenantStatus,
    check_act_as,
    check_open,
    check_owner_remains,
    check_payload,
    check_permissions,
    check_within,
    fingerprint,
    may,
)

TABLE = Path(__file__).with_name("roles.md")
NAMES = st.sampled_from(sorted(PERMISSIONS))
SOME = st.frozensets(NAMES)
NO_PLAN = DomainError("feature_not_in_plan", Kind.FORBIDDEN, "The plan free does not include accounts.")
PLANS = st.none() | st.just(NO_PLAN)
STANDINGS = st.builds(Standing, st.sampled_from(TenantStatus), st.none() | SOME)
NOW = datetime(2026, 1, 5, tzinfo=UTC)


def rendered() -> str:
    """The table of roles and permissions, as `roles.md` holds it."""
    lines = [f"| Permission | {' | '.join(BUILT_IN)} |", f"|---|{'---|' * len(BUILT_IN)}"]
    for name in PERMISSIONS:
        marks = " | ".join("x" if name in BUILT_IN[role] else " " for role in BUILT_IN)
        lines.append(f"| {name} | {marks} |")
    return "\n".join(lines) + "\n"


def code_of(refused: pytest.ExceptionInfo[DomainError]) -> str:
    return refused.value.code


def test_the_table_of_roles_is_the_one_that_was_reviewed() -> None:
    assert TABLE.read_text(encoding="utf-8") == rendered(), f"review, then make {TABLE.name}:\n{rendered()}"


def test_every_role_but_custom_is_built_in_and_knows_its_permissions_only() -> None:
    assert set(BUILT_IN) == set(Role) - {Role.CUSTOM}
    assert all(permissions <= PERMISSIONS.keys() for permissions in BUILT_IN.values())


def test_only_owners_close_a_tenant_and_readers_only_read() -> None:
    assert [role for role in BUILT_IN if "tenant:delete" in BUILT_IN[role]] == [Role.OWNER]
    assert all(name.endswith(":read") for name in BUILT_IN[Role.READ_ONLY])


def test_no_power_over_people_keys_or_approvals_can_be_delegated() -> None:
    powers = {f"{what}:write" for what in ("members", "invitations", "roles", "approvals", "api_keys")}
    assert powers | {"tenants:act_as", "tenant:delete"} <= NOT_DELEGABLE <= PERMISSIONS.keys()


@given(NAMES, SOME, STANDINGS, PLANS, st.booleans())
def test_may_is_the_conjunction_of_scope_role_plan_and_state(
    permission: str, scopes: frozenset[str], standing: Standing, unentitled: DomainError | None, exits: bool
) -> None:
    role = standing.role_permissions is None or permission in standing.role_permissions
    plan = unentitled is None or exits
    state = standing.tenant_status is TenantStatus.ACTIVE or exits or permission.endswith(":read")
    allowed = permission in scopes and role and plan and state
    assert (may(permission, scopes=scopes, standing=standing, unentitled=unentitled, exits=exits) is None) == allowed


@given(NAMES, SOME, STANDINGS, PLANS, st.booleans(), SOME)
def test_taking_anything_away_never_allows_more(
    permission: str,
    scopes: frozenset[str],
    standing: Standing,
    unentitled: DomainError | None,
    exits: bool,
    less: frozenset[str],
) -> None:
    if may(permission, scopes=scopes, standing=standing, unentitled=unentitled, exits=exits) is None:
        return
    role = None if standing.role_permissions is None else standing.role_permissions - less
    fewer = Standing(TenantStatus.SUSPENDED, role)
    assert may(permission, scopes=scopes - less, standing=fewer, unentitled=unentitled, exits=exits) is not None


@given(NAMES, SOME, STANDINGS, PLANS)
def test_whoever_lacks_the_scope_learns_nothing_else(
    permission: str, scopes: frozenset[str], standing: Standing, unentitled: DomainError | None
) -> None:
    refused = may(permission, scopes=scopes - {permission}, standing=standing, unentitled=unentitled)
    assert refused is not None and refused.code == "missing_scope"


@given(NAMES, STANDINGS, PLANS)
def test_neither_plan_nor_suspension_stop_an_exit(
    permission: str, standing: Standing, unentitled: DomainError | None
) -> None:
    active = Standing(TenantStatus.ACTIVE, standing.role_permissions)
    wanted = may(permission, scopes={permission}, standing=active, unentitled=None, exits=True)
    refused = may(permission, scopes={permission}, standing=standing, unentitled=unentitled, exits=True)
    assert (refused is None) == (wanted is None)


@pytest.mark.parametrize(
    ("standing", "unentitled", "code"),
    [
        (Standing(TenantStatus.ACTIVE, frozenset()), None, "role_lacks_permission"),
        (Standing(TenantStatus.ACTIVE), NO_PLAN, "feature_not_in_plan"),
        (Standing(TenantStatus.SUSPENDED), None, "tenant_suspended"),
        (Standing(TenantStatus.CLOSING), None, "tenant_closing"),
    ],
)
def test_a_refusal_says_which_part_refuses(standing: Standing, unentitled: DomainError | None, code: str) -> None:
    refused = may("accounts:write", scopes={"accounts:write"}, standing=standing, unentitled=unentitled)
    assert refused is not None and refused.code == code


@given(SOME, SOME)
def test_nobody_grants_what_he_lacks(asked: frozenset[str], held: frozenset[str]) -> None:
    if asked and asked <= held:
        assert check_permissions(asked, held) == sorted(asked)
    else:
        with pytest.raises(DomainError) as refused:
            check_permissions(asked, held)
        assert code_of(refused) == ("role_beyond_caller" if asked else "no_permissions")


def test_an_unknown_permission_is_named() -> None:
    with pytest.raises(DomainError, match="orders:rite") as refused:
        check_permissions(["orders:rite"], PERMISSIONS)
    assert code_of(refused) == "unknown_permission"


def test_an_admin_cannot_touch_an_owner() -> None:
    with pytest.raises(DomainError, match="tenant:delete"):
        check_within(BUILT_IN[Role.OWNER], BUILT_IN[Role.ADMIN])
    check_within(BUILT_IN[Role.ADMIN], BUILT_IN[Role.OWNER])


def test_the_last_owner_stays_and_one_of_two_may_go() -> None:
    check_owner_remains(["a", "b"], "a")
    check_owner_remains(["b"], "a")
    with pytest.raises(DomainError) as refused:
        check_owner_remains(["a"], "a")
    assert code_of(refused) == "last_owner"


def test_every_action_has_a_permission_and_fields() -> None:
    assert set(ACTION_PERMISSION) == set(ACTION_FIELDS) == set(Action)
    assert set(ACTION_PERMISSION.values()) <= PERMISSIONS.keys()


@given(st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()))
def test_two_payloads_have_one_fingerprint_only_if_they_are_equal(one: dict[str, str], other: dict[str, str]) -> None:
    same = fingerprint(Action.MAKE_OWNER, one) == fingerprint(Action.MAKE_OWNER, other)
    assert same == (one == other)
    assert fingerprint(Action.MAKE_OWNER, one) != fingerprint(Action.ACT_AS_LIVE, one)


@pytest.mark.parametrize("payload", [{}, {"member": "m"}, {"member_id": "m", "x": "y"}, {"member_id": "m" * 5_000}])
def test_a_payload_names_what_its_action_takes_and_no_more(payload: dict[str, str]) -> None:
    check_payload(Action.MAKE_OWNER, {"member_id": "m"})
    with pytest.raises(DomainError, match="member_id"):
        check_payload(Action.MAKE_OWNER, payload)


@pytest.mark.parametrize(("reason", "minutes"), [("", 5), ("       x", 5), ("a good reason", 0), ("a good reason", 61)])
def test_acting_takes_a_reason_and_an_hour_at_most(reason: str, minutes: int) -> None:
    assert check_act_as("a good reason", 60) == timedelta(hours=1)
    with pytest.raises(DomainError):
        check_act_as(reason, minutes)


@pytest.mark.parametrize(
    ("accepted", "revoked", "left", "code"),
    [
        (NOW, None, 1, "invitation_used"),
        (None, NOW, 1, "invitation_revoked"),
        (None, None, 0, "invitation_expired"),
    ],
)
def test_an_invitation_is_open_until_used_revoked_or_too_old(
    accepted: datetime | None, revoked: datetime | None, left: int, code: str
) -> None:
    check_open(accepted_at=None, revoked_at=None, expires_at=NOW + timedelta(seconds=1), now=NOW)
    with pytest.raises(DomainError) as refused:
        check_open(accepted_at=accepted, revoked_at=revoked, expires_at=NOW + timedelta(seconds=left), now=NOW)
    assert code_of(refused) == code
