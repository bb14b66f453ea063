"""Decides how one person proposes, another decides, and what was decided happens exactly once.

Both are people: a key without a person behind it proves nothing, since its holder can make a second one.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind, conflict, not_found
from app.kernel.ids import encode_id
from app.platform.tenancy import repository
from app.platform.tenancy.domain import (
    ACTION_PERMISSION,
    Action,
    check_recent_login,
    fingerprint,
)
from app.platform.tenancy.service.roles import held
from app.platform.tenancy.tables import Approval
from app.web.cursors import Cursor, Slice

APPROVAL = "apr"


async def approve(tx: Tx, approval_id: UUID, *, now: datetime) -> Approval:
    """Agree, as another person than the maker, who has just logged in. Nothing happens yet: the maker carries it out.

    Raises `login_needed`, `insufficient_user_authentication` and what stands in the way of deciding.
    """
    return await _decide(tx, approval_id, "approved", None, now=now)


async def reject(tx: Tx, approval_id: UUID, *, reason: str, now: datetime) -> Approval:
    """Refuse, as another person than the maker, and for good."""
    return await _decide(tx, approval_id, "rejected", reason, now=now)


async def execute(
    tx: Tx, approval_id: UUID | None, action: Action, payload: Mapping[str, str], *, now: datetime
) -> None:
    """Use an approval up, in the transaction of what it permits. The platform's own work, without a caller, needs none.

    Raises `approval_needed`, `approval_not_found`, `approval_mismatch`, `approval_not_granted`, `approval_expired`.
    """
    if tx.principal is None:
        return
    fields = ", ".join(f"{name}={value!r}" for name, value in payload.items())
    if approval_id is None:
        raise conflict(
            "approval_needed",
            f"This takes two people. POST /v1/approvals with action {action.value} and payload {fields}; when another "
            "person has approved it, repeat this request with its approval_id.",
            param="approval_id",
        )
    row = await _locked(tx, approval_id)
    if row.fingerprint != fingerprint(action, payload):
        raise conflict(
            "approval_mismatch", "This approval is for something else. Propose exactly this.", param="approval_id"
        )
    if row.made_by != tx.principal.user_id:
        raise DomainError("not_the_maker", Kind.FORBIDDEN, "Whoever proposed it carries it out.", param="approval_id")
    if row.status != "approved":
        raise conflict("approval_not_granted", f"The approval is {row.status}; it works once.", param="approval_id")
    _check_unexpired(row, now)
    row.status, row.executed_at = "executed", now
    tx.emit("approval.executed", row.id, {"action": action.value})
    await tx.flush()


async def get_approval(tx: Tx, approval_id: UUID) -> Approval:
    """Raises `approval_not_found`."""
    row = await tx.get(Approval, approval_id)
    if row is None:
        raise not_found("approval", encode_id(APPROVAL, approval_id))
    return row


async def list_approvals(tx: Tx, cursor: Cursor) -> Slice[Approval]:
    """One page, newest first."""
    return cursor.cut(await repository.approvals(tx, cursor))


async def _decide(tx: Tx, approval_id: UUID, status: str, reason: str | None, *, now: datetime) -> Approval:
    row = await _locked(tx, approval_id)
    checker = await person_for(tx, Action(row.action))
    if checker == row.made_by:
        raise DomainError("maker_cannot_check", Kind.FORBIDDEN, "Whoever proposed it cannot decide it: ask another.")
    if row.status != "pending":
        raise conflict("approval_decided", f"The approval is {row.status} already.")
    _check_unexpired(row, now)
    if status == "approved":
        check_recent_login(tx.principal.auth_time if tx.principal else None, now=now)
    row.status, row.checked_by, row.decided_at, row.decision_reason = status, checker, now, reason
    tx.emit(f"approval.{status}", row.id, {"action": row.action})
    await tx.flush()
    return row


async def person_for(tx: Tx, action: Action) -> UUID:
    """The person who calls. Raises `approval_needs_person`, `action_not_permitted`."""
    who = tx.principal
    if who is None or who.user_id is None:
        raise DomainError(
            "approval_needs_person", Kind.FORBIDDEN, "Approvals are between people: log in, or use a key that you made."
        )
    needed = ACTION_PERMISSION[action]
    if needed not in await held(tx):
        raise DomainError(
            "action_not_permitted", Kind.FORBIDDEN, f"To propose or decide {action.value} you need {needed} yourself."
        )
    return who.user_id


async def _locked(tx: Tx, approval_id: UUID) -> Approval:
    row = await repository.lock_approval(tx, approval_id)
    if row is None:
        raise not_found("approval", encode_id(APPROVAL, approval_id))
    return row


def _check_unexpired(row: Approval, now: datetime) -> None:
    if row.expires_at <= now:
        raise conflict("approval_expired", "The approval has expired: propose it again.", param="approval_id")
