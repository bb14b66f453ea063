"""Decides what a tenant may be called, what its members' roles permit, and whether a caller may do a thing.

Permissions are code: a route names one, a test compares. Roles are data: built in here, the tenant's own in `roles`.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.kernel.errors import DomainError, Kind, StepUpError, conflict, invalid
from app.kernel.orders import Mode

PERMISSIONS: dict[str, str] = {
    "tenant:read": "Read the tenant.",
    "tenant:delete": "Close the tenant.",
    "tenants:read": "List the tenants below this one.",
    "tenants:act_as": "Act for a tenant below this one, for at most an hour.",
    "act_as_grants:read": "List who acts, or acted, for whom.",
    "act_as_grants:write": "End an act-as grant.",
    "members:read": "List the tenant's members.",
    "members:write": "Change members' roles; suspend, reactivate and remove members.",
    "invitations:read": "List invitations.",
    "invitations:write": "Invite people, send an invitation again, revoke it.",
    "roles:read": "List roles and what they permit.",
    "roles:write": "Create, change and delete the tenant's own roles.",
    "approvals:read": "List what waits for a second person, and what was decided.",
    "approvals:write": "Propose, approve and reject what takes two people.",
    "api_keys:read": "List API keys; their secrets are never shown again.",
    "api_keys:write": "Create and revoke API keys.",
    "oauth_clients:read": "List OAuth clients; their secrets are never shown again.",
    "oauth_clients:write": "Register, change and revoke OAuth clients, and rotate their secrets.",
    "clients:read": "Read end customers.",
    "clients:write": "Create and change end customers.",
    "accounts:read": "Read accounts, balances and the ledger's entries.",
    "accounts:write": "Open accounts and fund paper accounts.",
    "funding:read": "Read deposits and withdrawals.",
    "funding:write": "Ask for deposits and withdrawals.",
    "custody:read": "Read segregation and breaks.",
    "custody:write": "Reverse ledger transactions; take and resolve breaks.",
    "instruments:read": "Read instruments and trading rules.",
    "bars:read": "Read bars.",
    "orders:read": "Read orders and fills.",
    "orders:write": "Place and cancel orders.",
    "risk:read": "Read risk limits and halts.",
    "risk:write": "Set and clear risk limits; halt trading and lift halts.",
    "positions:read": "Read positions.",
    "strategies:read": "Read strategies and deployments.",
    "strategies:write": "Create strategies; deploy, pause and stop them.",
    "backtests:read": "Read backtests, their results and reports.",
    "backtests:write": "Run and cancel backtests.",
    "sweeps:read": "Read sweeps, their results and reports.",
    "sweeps:write": "Run and cancel sweeps.",
    "performance:read": "Read performance.",
    "events:read": "Read events.",
    "webhooks:read": "Read webhook endpoints and their deliveries.",
    "webhooks:write": "Create, change and delete webhook endpoints; send deliveries again.",
}
"""Every permission a route may require and a credential or a role may carry, with what it allows."""


class TenantStatus(StrEnum):
    """A suspended tenant may close positions and cancel orders, not open new ones. So may one that is closing."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSING = "closing"


class MemberStatus(StrEnum):
    """A suspended member, and every key that he made, may do nothing. One who was removed is shown no more."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"


class Role(StrEnum):
    """What a member does for the tenant. `custom`: a role of the tenant's own, named by its id."""

    OWNER = "owner"
    ADMIN = "admin"
    TRADER = "trader"
    RISK_OFFICER = "risk_officer"
    COMPLIANCE_OFFICER = "compliance_officer"
    ANALYST = "analyst"
    SUPPORT = "support"
    READ_ONLY = "read_only"
    CUSTOM = "custom"


_ALL = frozenset(PERMISSIONS)
_READ = frozenset(name for name in PERMISSIONS if name.endswith(":read"))
_MARKET = frozenset({"tenant:read", "instruments:read", "bars:read", "events:read"})
_BOOKS = frozenset({"accounts:read", "clients:read", "orders:read", "positions:read", "performance:read", "risk:read"})
_RESEARCH = frozenset({"strategies:read", "backtests:read", "backtests:write", "sweeps:read", "sweeps:write"})

BUILT_IN: dict[Role, frozenset[str]] = {
    Role.OWNER: _ALL,
    Role.ADMIN: _ALL - {"tenant:delete"},
    Role.TRADER: _MARKET | _BOOKS | _RESEARCH | {"orders:write", "strategies:write"},
    Role.RISK_OFFICER: _READ | {"risk:write", "approvals:write"},
    Role.COMPLIANCE_OFFICER: _READ | {"approvals:write", "act_as_grants:write", "custody:write"},
    Role.ANALYST: _MARKET | _RESEARCH | {"accounts:read", "orders:read", "positions:read", "performance:read"},
    Role.SUPPORT: _MARKET
    | _BOOKS
    | {
        "members:read",
        "strategies:read",
        "tenants:read",
        "tenants:act_as",
        "act_as_grants:read",
        "act_as_grants:write",
    },
    Role.READ_ONLY: _READ,
}
"""What each built-in role permits. A new permission is the owner's and the admin's, and read by those who read all."""

NOT_DELEGABLE = frozenset(
    {
        "tenant:delete",
        "tenants:read",
        "tenants:act_as",
        "act_as_grants:write",
        "members:write",
        "invitations:write",
        "roles:write",
        "approvals:write",
        "api_keys:write",
        "oauth_clients:write",
        "webhooks:write",
        "funding:write",
        "custody:write",
    }
)
"""What nobody may do for another tenant: it would outlive the grant, or hand it on."""

RECENT_LOGIN = timedelta(minutes=10)
"""How old a person's proof of identity may be for what is dangerous: new credentials, approvals, live mode, closing."""

ACT_AS_MAX = timedelta(hours=1)
INVITATION_LIFE = timedelta(days=7)
APPROVAL_LIFE = timedelta(hours=24)
CLOSING_GRACE = timedelta(days=30)
MAX_PAYLOAD = 4_096
_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+", re.ASCII)


class Action(StrEnum):
    """What takes two people."""

    MAKE_OWNER = "member.make_owner"
    ACT_AS_LIVE = "tenant.act_as_live"
    CLEAR_RISK_LIMIT = "risk_limit.clear"
    LIFT_HALT = "halt.lift"
    WITHDRAW = "withdrawal.create"
    REVERSE_TRANSACTION = "ledger_transaction.reverse"


ACTION_PERMISSION: dict[Action, str] = {
    Action.MAKE_OWNER: "members:write",
    Action.ACT_AS_LIVE: "tenants:act_as",
    Action.CLEAR_RISK_LIMIT: "risk:write",
    Action.LIFT_HALT: "risk:write",
    Action.WITHDRAW: "funding:write",
    Action.REVERSE_TRANSACTION: "custody:write",
}
"""What maker and checker of an action must both be permitted."""

ACTION_FIELDS: dict[Action, tuple[str, ...]] = {
    Action.MAKE_OWNER: ("member_id",),
    Action.ACT_AS_LIVE: ("tenant_id", "reason"),
    Action.CLEAR_RISK_LIMIT: ("account_id", "rule"),
    Action.LIFT_HALT: ("halt_id",),
    Action.WITHDRAW: ("account_id", "amount"),
    Action.REVERSE_TRANSACTION: ("transaction_id", "reason"),
}
"""What the payload of an action names, no more and no less."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands behind a credential at the moment. `role_permissions` None: no person answers for it; empty: a person
    who is no active member of the tenant that the credential belongs to."""

    tenant_status: TenantStatus
    role_permissions: frozenset[str] | None = None


_BARRED = {
    TenantStatus.SUSPENDED: (
        "tenant_suspended",
        Kind.FORBIDDEN,
        "The tenant is suspended: it can read, cancel and close positions, nothing else.",
    ),
    TenantStatus.CLOSING: (
        "tenant_closing",
        Kind.FORBIDDEN,
        "The tenant is closing: it can read, cancel and close positions, nothing else.",
    ),
}


def may(
    permission: str, *, scopes: Collection[str], standing: Standing, unentitled: DomainError | None, exits: bool = False
) -> DomainError | None:
    """None when the caller may do what `permission` allows, else why not.

    The conjunction of the credential's `scopes`, the person's role, the tenant's plan (`unentitled`: what it says
    against it) and the tenant's state, in this order: whoever lacks a scope learns nothing else. `exits`: the operation
    only takes risk or power away; neither plan nor state ever stop it.
    """
    if permission not in scopes:
        return DomainError(
            "missing_scope",
            Kind.FORBIDDEN,
            f"The key lacks the scope {permission}: use a key that has it (POST /v1/api_keys makes one).",
        )
    if standing.role_permissions is not None and permission not in standing.role_permissions:
        return DomainError(
            "role_lacks_permission",
            Kind.FORBIDDEN,
            f"The member who answers for this credential may not {permission}, or is not active. "
            "Ask an owner for another role.",
        )
    if unentitled is not None and not exits:
        return unentitled
    if standing.tenant_status is not TenantStatus.ACTIVE and not exits and not permission.endswith(":read"):
        return DomainError(*_BARRED[standing.tenant_status])
    return None


def check_permissions(asked: Collection[str], held: Collection[str]) -> list[str]:
    """`asked` sorted, each once, when all exist and whoever grants them holds them.

    Raises `no_permissions`, `unknown_permission`, `role_beyond_caller`.
    """
    wanted = sorted(set(asked))
    if not wanted:
        raise invalid("no_permissions", "Name at least one permission.", param="permissions")
    unknown = [name[:64] for name in wanted if name not in PERMISSIONS]
    if unknown:
        known = ", ".join(PERMISSIONS)
        message = f"{unknown[0]!r} is not a permission. Permissions are {known}."
        raise invalid("unknown_permission", message, param="permissions")
    check_within(wanted, held, param="permissions")
    return wanted


def check_within(permissions: Collection[str], held: Collection[str], *, param: str = "role") -> None:
    """Nobody gives, takes or changes a power that he does not have. Raises `role_beyond_caller`."""
    beyond = sorted(set(permissions) - set(held))
    if beyond:
        raise DomainError(
            "role_beyond_caller",
            Kind.FORBIDDEN,
            f"This needs somebody who has all of the role's permissions himself; you lack {', '.join(beyond)}.",
            param=param,
        )


def check_owner_remains(owners: Collection[object], member: object) -> None:
    """`owners` are the active ones, locked. Raises `last_owner` when `member` is the only one."""
    if set(owners) == {member}:
        raise conflict("last_owner", "A tenant keeps at least one active owner: make another member owner first.")


def fingerprint(action: Action, payload: Mapping[str, str]) -> str:
    """SHA-256 of what was proposed: a checker approves this and nothing else."""
    text = json.dumps({"action": action.value, "payload": dict(payload)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def check_payload(action: Action, payload: Mapping[str, str]) -> None:
    """Raises `invalid_payload` naming the fields that the action takes."""
    fields = ACTION_FIELDS[action]
    if set(payload) != set(fields) or sum(len(value) for value in payload.values()) > MAX_PAYLOAD:
        raise invalid(
            "invalid_payload",
            f"{action} takes a payload of exactly {', '.join(fields)}, together at most {MAX_PAYLOAD} characters.",
            param="payload",
        )


def check_recent_login(auth_time: datetime | None, *, now: datetime) -> None:
    """`auth_time`: when the person behind the credential last proved who they are.

    Raises `login_needed` where nobody did, `insufficient_user_authentication` (RFC 9470) where it is too long ago.
    """
    if auth_time is None:
        raise DomainError(
            "login_needed",
            Kind.FORBIDDEN,
            "A person does this who has just logged in: use an access token of a login; no API key will do.",
        )
    if now - auth_time > RECENT_LOGIN:
        raise StepUpError(int(RECENT_LOGIN.total_seconds()))


def check_new_credential(auth_time: datetime | None, mode: Mode, *, now: datetime) -> None:
    """Whether the caller may make a credential of `mode` that outlives his own.

    A person has logged in recently. A key may make another for the test mode, with no more than it has; never a live
    one. Raises what `check_recent_login` says.
    """
    if auth_time is not None or mode is Mode.LIVE:
        check_recent_login(auth_time, now=now)


def check_act_as(reason: str, minutes: int) -> timedelta:
    """How long the grant lasts. Raises `reason_required`, `grant_too_long`."""
    if len(reason.strip()) < 8:
        raise invalid("reason_required", "reason must say in a few words why, such as a ticket.", param="reason")
    length = timedelta(minutes=minutes)
    if not timedelta(0) < length <= ACT_AS_MAX:
        raise invalid("grant_too_long", "minutes must be between 1 and 60.", param="minutes")
    return length


def hash_token(token: str) -> bytes:
    """SHA-256 of an invitation's token: it carries 256 random bits, so a plain hash suffices."""
    return hashlib.sha256(token.encode()).digest()


def check_open(
    *, accepted_at: datetime | None, revoked_at: datetime | None, expires_at: datetime, now: datetime
) -> None:
    """Raises `invitation_used`, `invitation_revoked` or `invitation_expired`."""
    if accepted_at is not None:
        raise conflict("invitation_used", "This invitation was accepted already.")
    if revoked_at is not None:
        raise conflict("invitation_revoked", "This invitation was revoked. Ask for a new one.")
    if expires_at <= now:
        raise conflict("invitation_expired", "This invitation has expired. Ask for a new one.")


def check_slug(slug: str) -> str:
    """`slug` when it can be a host name's label. Raises `invalid_slug`."""
    if not _SLUG.fullmatch(slug):
        raise invalid("invalid_slug", "slug takes 1 to 40 of a-z, 0-9 and inner hyphens.", param="slug")
    return slug


def check_tenant_name(name: str) -> str:
    """`name` without space around it, when people can read it on one line. Raises `invalid_name`."""
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= 100 or not trimmed.isprintable():
        raise invalid("invalid_name", "name takes 1 to 100 printable characters on one line.", param="name")
    return trimmed


def normal_email(email: str) -> str:
    """`email` trimmed and in lower case, as it is stored and compared. Raises `invalid_email`."""
    normal = email.strip().lower()
    if len(normal) > 254 or not _EMAIL.fullmatch(normal):
        raise invalid("invalid_email", "email must look like name@example.com.", param="email")
    return normal
