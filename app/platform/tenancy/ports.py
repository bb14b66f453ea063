"""What tenancy needs of what lies above it: mail, plans, keys, tokens, accounts, trading. `main` hands them in."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from app.infra.database import Tx
from app.kernel.errors import DomainError
from app.kernel.orders import Mode


@dataclass(frozen=True, slots=True)
class InvitationLetter:
    """What a person who is invited must be told. `token` opens the door: it is in no log, event or representation."""

    email: str
    tenant_name: str
    role: str
    sent_at: datetime
    expires_at: datetime
    token: str = field(repr=False)


class Inviter(Protocol):
    """Sends invitations. The only one who ever sees a raw token."""

    async def invite(self, tx: Tx, letter: InvitationLetter) -> None:
        """Take the letter in the transaction that makes the invitation: write it down, call no network."""
        ...


class Credentials(Protocol):
    """The tenant's keys."""

    async def revoke_all(self, tx: Tx, *, now: datetime) -> int:
        """End all of them for ever; how many there were."""
        ...


class Tokens(Protocol):
    """The tenant's applications, and what they hold in the name of its people."""

    async def end_person(self, tx: Tx, user_id: UUID, *, now: datetime) -> None:
        """End all of it for a person in the transaction's tenant, for ever, once the transaction is committed."""
        ...

    async def end_tenant(self, tx: Tx, *, now: datetime) -> int:
        """End the tenant's applications and all that they hold, for ever, once the transaction is committed; how many
        applications there were."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """What stands in the way of closing a tenant."""

    positions: int
    orders: int


class Holdings(Protocol):
    """What the tenant holds."""

    async def freeze(self, tx: Tx) -> Held:
        """Count open positions and orders, after making sure that no order decided before can still be written."""
        ...


class Accounts(Protocol):
    """The tenant's accounts, and their ledger."""

    async def check(self, tx: Tx, account_id: UUID) -> None:
        """Raises `account_not_found`, for another tenant's as for one that never was."""
        ...

    async def check_transaction(self, tx: Tx, transaction_id: UUID) -> None:
        """Raises `ledger_transaction_not_found`, likewise."""
        ...


class Halts(Protocol):
    """What stops the tenant's trading."""

    async def check(self, tx: Tx, halt_id: UUID) -> None:
        """Raises `halt_not_found`, for another tenant's as for one that never was."""
        ...


class Entitlements(Protocol):
    """What a tenant's plan includes."""

    async def refusal(self, tenant_id: UUID, permission: str, mode: Mode, *, now: datetime) -> DomainError | None:
        """None when the tenant's plan includes what `permission` allows in `mode`, else why not, with the remedy."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """What the routes are given."""

    inviter: Inviter
    credentials: Credentials
    tokens: Tokens
    holdings: Holdings
    accounts: Accounts
    halts: Halts
