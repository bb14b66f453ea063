"""The kill switch as rows: who stopped what, why, and who let it go on.

A halt takes the turn of every account that it concerns, in its own transaction: whoever begins to send an order has
finished before, or waits and then reads the halt. What was decided and not yet written is decided again.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy.exc import IntegrityError

from app.custody.accounts.service import get_account
from app.infra.database import Tx
from app.kernel.errors import conflict, invalid, not_found
from app.kernel.ids import encode_id
from app.kernel.orders import Mode
from app.platform.tenancy.domain import Action, check_recent_login
from app.platform.tenancy.service import execute
from app.trading.risk import repository
from app.trading.risk.domain import Halt, HaltMode, Target, check_algo_id
from app.trading.risk.ports import WorkingOrders
from app.trading.risk.tables import RiskHalt
from app.web.cursors import Cursor, Slice

HALT = "hlt"
MAX_REASON = 500


async def halt(tx: Tx, target: Target, *, mode: HaltMode, reason: str, working: WorkingOrders, now: datetime) -> Halt:
    """Stop new risk in the accounts of the caller's mode. Once this is committed, nothing that it concerns and that is
    not yet on the wire is sent. `halt` also has the entries taken back that work already.

    Raises `reason_required`, `account_not_found`, `deployment_not_found`.
    """
    _check_reason(reason)
    if target.account_id is not None:
        await get_account(tx, target.account_id)
    who = tx.principal
    row = RiskHalt(
        tenant_id=tx.tenant_id,
        account_id=target.account_id,
        deployment_id=target.deployment_id,
        algo_id=target.algo_id,
        account_mode=who.mode.value if who else None,
        mode=mode.value,
        reason=reason,
        halted_by_key=who.key_id if who else None,
        halted_by=who.user_id if who else None,
        halted_at=now,
    )
    tx.add(row)
    try:
        await tx.flush()
    except IntegrityError:  # the one key that was not looked up: deployments live above risk
        if target.deployment_id is None:
            raise
        raise not_found("deployment", encode_id("dep", target.deployment_id)) from None
    await repository.decide_anew(tx, target.account_id)
    if mode is HaltMode.HALT:
        await working.take_back(tx, target)
    _tell(tx, row.id, target, target.level, mode, reason)
    return _halt(row)


async def resume(tx: Tx, halt_id: UUID, *, approval_id: UUID | None, now: datetime) -> Halt:
    """Lift a halt: a person does it who has just logged in, and unless it is about test accounts alone, after a second
    person's approval. The platform's own work needs neither.

    Raises `halt_not_found`, `halt_lifted`, and what `check_recent_login` and `approvals.execute` say.
    """
    row, who = await repository.lock_halt(tx, halt_id), tx.principal
    if row is None or not _theirs(tx, row):
        raise not_found("halt", encode_id(HALT, halt_id))
    if row.resumed_at is not None:
        raise conflict("halt_lifted", "This halt was lifted already; GET /v1/halts lists those that stand.")
    if who is not None:
        check_recent_login(who.auth_time, now=now)
        if row.account_mode != Mode.TEST:
            await execute(tx, approval_id, Action.LIFT_HALT, {"halt_id": encode_id(HALT, halt_id)}, now=now)
    row.resumed_at, row.resumed_by = now, who.user_id if who else None
    tx.emit("risk.resumed", row.id, {"level": _target(row).level}, account_id=row.account_id)
    await tx.flush()
    return _halt(row)


async def held_halt(tx: Tx, halt_id: UUID) -> Halt:
    """The halt as it stays until `tx` ends. Raises `halt_not_found`."""
    await repository.lock_halt(tx, halt_id)
    return await get_halt(tx, halt_id)


async def get_halt(tx: Tx, halt_id: UUID) -> Halt:
    """Raises `halt_not_found`."""
    row = await tx.get(RiskHalt, halt_id)
    if row is None or not _theirs(tx, row):
        raise not_found("halt", encode_id(HALT, halt_id))
    return _halt(row)


async def list_halts(tx: Tx, cursor: Cursor, *, standing: bool) -> Slice[Halt]:
    """Of the caller's mode, newest first; `standing`: only those that were not lifted."""
    found: Slice[RiskHalt] = cursor.cut(await repository.halts(tx, cursor, standing=standing))
    return found.map(_halt)


class TenantHalts:
    """The tenant's halts: tenancy's port `Halts`."""

    async def check(self, tx: Tx, halt_id: UUID) -> None:
        """Raises `halt_not_found`."""
        await get_halt(tx, halt_id)


async def halt_platform(
    reference: asyncpg.Pool, *, algo_id: str | None, mode: HaltMode, reason: str, now: datetime
) -> UUID:
    """Stop new risk of every tenant, or of an algo id wherever it trades; the halt's id.

    Raises `invalid_algo_id`, `reason_required`.
    """
    _check_reason(reason)
    if algo_id is not None:
        check_algo_id(algo_id)
    return await repository.halt_platform(reference, algo_id=algo_id, mode=mode.value, reason=reason, now=now)


async def resume_platform(reference: asyncpg.Pool, halt_id: UUID, *, now: datetime) -> None:
    """Raises `halt_not_found`, also for one that was lifted."""
    if not await repository.resume_platform(reference, halt_id, now=now):
        raise not_found("halt", encode_id(HALT, halt_id))


async def platform_halts(reference: asyncpg.Pool) -> Sequence[asyncpg.Record]:
    """The platform's halts that stand."""
    return await repository.platform_halts(reference)


async def tell_platform_halted(tx: Tx, halt_id: UUID, algo_id: str | None, *, mode: HaltMode, reason: str) -> None:
    """Say it to a tenant. What was decided before, and is not yet written, is decided again."""
    await repository.decide_anew(tx, None)
    _tell(tx, halt_id, Target(algo_id=algo_id), "platform", mode, reason)


def tell_platform_resumed(tx: Tx, halt_id: UUID) -> None:
    """Say it to a tenant."""
    tx.emit("risk.resumed", halt_id, {"level": "platform"})


def _tell(tx: Tx, halt_id: UUID, target: Target, level: str, mode: HaltMode, reason: str) -> None:
    about: dict[str, Any] = {"level": level, "mode": mode.value, "reason": reason}
    if target.account_id is not None:
        about["account_id"] = encode_id("acc", target.account_id)
    if target.deployment_id is not None:
        about["deployment_id"] = encode_id("dep", target.deployment_id)
    if target.algo_id is not None:
        about["algo_id"] = target.algo_id
    tx.emit("risk.halted", halt_id, about, account_id=target.account_id)


def _check_reason(reason: str) -> None:
    if not 0 < len(reason.strip()) <= MAX_REASON:
        raise invalid("reason_required", f"reason must say why, in at most {MAX_REASON} characters.", param="reason")


def _theirs(tx: Tx, row: RiskHalt) -> bool:
    """A halt of the other mode than the caller's does not exist for him."""
    return tx.principal is None or row.account_mode in (None, tx.principal.mode.value)


def _target(row: RiskHalt) -> Target:
    """The innermost that the row names, which is what the order path looks for."""
    if row.algo_id is not None:
        return Target(algo_id=row.algo_id)
    return Target(account_id=None if row.deployment_id else row.account_id, deployment_id=row.deployment_id)


def _halt(row: RiskHalt) -> Halt:
    return Halt(
        row.id,
        _target(row),
        row.account_mode,
        HaltMode(row.mode),
        row.reason,
        row.halted_by,
        row.halted_at,
        row.resumed_by,
        row.resumed_at,
    )
