"""Decides how everything that a person or tenant was granted ends at once: grants in the database, tokens by epoch.

The functions work in the caller's transaction and return marks; the caller publishes them after the commit. A login
that ends is of no tenant: its access tokens end by one mark, and its codes and refresh tokens are refused, since every
exchange asks whether the login stands.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from app.infra.database import Tx
from app.platform.oauth import repository
from app.platform.oauth.domain import epoch_mark, session_mark
from app.platform.oauth.service.clients import revoke_clients
from app.platform.oauth.service.revocations import Revocations


async def end_tenant_tokens(tx: Tx, *, now: datetime) -> list[str]:
    """Every token of the transaction's tenant: a leak whose extent nobody knows."""
    await repository.revoke_grants(tx, at=now, reason="tenant_ended_all")
    ended = await repository.next_epoch(tx, tx.tenant_id)
    return [epoch_mark(tx.tenant_id, ended)]


async def end_person_tokens(tx: Tx, user_id: UUID, *, now: datetime) -> list[str]:
    """Every token of a person in the transaction's tenant: they left, or were suspended."""
    await repository.revoke_grants(tx, at=now, reason="person_ended_all", user_id=user_id)
    ended = await repository.next_epoch(tx, user_id)
    return [epoch_mark(user_id, ended, within=tx.tenant_id)]


class Endings:
    """Ends tokens when people or tenancy say so: their ports `Endings` and `Tokens`.

    A member whose role changes keeps tokens: every request asks what the role permits now.
    """

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations

    async def sessions_ended(self, session_ids: Sequence[UUID]) -> None:
        """Every access token that came of these logins."""
        await self._revocations.publish(session_mark(str(one)) for one in session_ids)

    async def end_person(self, tx: Tx, user_id: UUID, *, now: datetime) -> None:
        """Everything of a person in the transaction's tenant, once that is committed."""
        marks = await end_person_tokens(tx, user_id, now=now)
        tx.tell(partial(self._revocations.publish, marks))

    async def end_tenant(self, tx: Tx, *, now: datetime) -> int:
        """Every application of the transaction's tenant and all that it holds; how many there were.

        A code or secret that is redeemed at the same moment may get a token of the new epoch: the clients' own marks
        end that one, too.
        """
        clients = await revoke_clients(tx, now=now)
        marks = [*clients, *await end_tenant_tokens(tx, now=now)]
        tx.tell(partial(self._revocations.publish, marks))
        return len(clients)
