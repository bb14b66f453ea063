"""Decides how everything that a person or tenant was granted ends at once: grants in the database, tokens by epoch.

Each function works in the caller's transaction and returns marks; the caller publishes them after the commit.
"""

from datetime import datetime
from uuid import UUID

from app.infra.database import Tx
from app.platform.oauth import repository
from app.platform.oauth.domain import epoch_mark, grant_mark


async def end_tenant_tokens(tx: Tx, *, now: datetime) -> list[str]:
    """Every token of the transaction's tenant: a leak whose extent nobody knows."""
    await repository.revoke_grants(tx, at=now, reason="tenant_ended_all")
    ended = await repository.next_epoch(tx, tx.tenant_id)
    return [epoch_mark(tx.tenant_id, ended)]


async def end_person_tokens(tx: Tx, user_id: UUID, *, now: datetime) -> list[str]:
    """Every token of a person in the transaction's tenant: they left, or their password was stolen."""
    await repository.revoke_grants(tx, at=now, reason="person_ended_all", user_id=user_id)
    ended = await repository.next_epoch(tx, user_id)
    return [epoch_mark(user_id, ended, within=tx.tenant_id)]


async def end_session_tokens(tx: Tx, session_id: str, *, now: datetime) -> list[str]:
    """Every token that came of one sign-in: they signed out."""
    ended = await repository.revoke_grants(tx, at=now, reason="signed_out", session_id=session_id)
    return [grant_mark(grant_id) for grant_id in ended]
