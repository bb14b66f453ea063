"""Decides what may be proposed to a second person: what is there, so that nobody approves an id of nothing."""

from collections.abc import Mapping
from datetime import datetime

from app.infra.database import Tx
from app.kernel.errors import not_found
from app.kernel.ids import decode_id
from app.platform.tenancy.domain import APPROVAL_LIFE, Action, check_payload, fingerprint
from app.platform.tenancy.ports import Accounts, Halts
from app.platform.tenancy.service.acting import TENANT
from app.platform.tenancy.service.approvals import person_for
from app.platform.tenancy.service.members import MEMBER, get_member
from app.platform.tenancy.tables import Approval, ChildTenant

_ACCOUNT = "acc"
_HALT = "hlt"
_TRANSACTION = "ltx"


async def propose(
    tx: Tx, action: Action, payload: Mapping[str, str], *, accounts: Accounts, halts: Halts, now: datetime
) -> Approval:
    """Ask a second person.

    Raises `invalid_payload`, `approval_needs_person`, `action_not_permitted`, `invalid_id`, and `member_not_found`,
    `tenant_not_found`, `account_not_found` or `halt_not_found`, for another tenant's id as for one that never was.
    """
    check_payload(action, payload)
    maker = await person_for(tx, action)
    await _check_exists(tx, action, payload, accounts, halts)
    row = Approval(
        tenant_id=tx.tenant_id,
        action=action.value,
        payload=dict(payload),
        fingerprint=fingerprint(action, payload),
        made_by=maker,
        created_at=now,
        expires_at=now + APPROVAL_LIFE,
    )
    tx.add(row)
    tx.emit("approval.proposed", row.id, {"action": action.value, "payload": dict(payload)})
    await tx.flush()
    return row


async def _check_exists(tx: Tx, action: Action, payload: Mapping[str, str], accounts: Accounts, halts: Halts) -> None:
    match action:
        case Action.MAKE_OWNER:
            await get_member(tx, decode_id(MEMBER, payload["member_id"], param="payload.member_id"))
        case Action.ACT_AS_LIVE:
            child_id = decode_id(TENANT, payload["tenant_id"], param="payload.tenant_id")
            if await tx.get(ChildTenant, child_id) is None:
                raise not_found("tenant", payload["tenant_id"])
        case Action.CLEAR_RISK_LIMIT | Action.WITHDRAW:
            await accounts.check(tx, decode_id(_ACCOUNT, payload["account_id"], param="payload.account_id"))
        case Action.LIFT_HALT:
            await halts.check(tx, decode_id(_HALT, payload["halt_id"], param="payload.halt_id"))
        case Action.REVERSE_TRANSACTION:
            await accounts.check_transaction(
                tx, decode_id(_TRANSACTION, payload["transaction_id"], param="payload.transaction_id")
            )
