"""Decides what can be done with clients and trading accounts: open, read, list, rename and close clients."""

from datetime import datetime
from uuid import UUID

from app.custody.accounts import repository
from app.custody.accounts.domain import (
    ClientStatus,
    NewAccount,
    check_client_change,
    check_client_open,
    check_new_account,
)
from app.custody.accounts.ports import Books
from app.custody.accounts.tables import Account, Client
from app.engine.schedule import schedule_named
from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind, conflict, not_found
from app.kernel.ids import encode_id, uuid7
from app.kernel.money import currency_exponent, format_scaled
from app.kernel.orders import Mode
from app.platform.plans.domain import QuotaName
from app.platform.plans.service import consume
from app.web.cursors import Cursor, Slice

PREFIX = "acc"
CLIENT = "cli"


def _mode(tx: Tx) -> Mode | None:
    """The mode that the caller's key may see; None for the platform's own work."""
    return tx.principal.mode if tx.principal else None


async def create_client(tx: Tx, *, external_ref: str, name: str) -> Client:
    """A new end customer of the tenant. Raises `client_exists`."""
    client_id = uuid7()
    if not await repository.insert_client(tx, client_id, external_ref=external_ref, name=name):
        raise conflict("client_exists", f"A client {external_ref!r} exists already.", param="external_ref")
    tx.emit("client.created", client_id, {"external_ref": external_ref})
    return await get_client(tx, client_id)


async def change_client(
    tx: Tx, client_id: UUID, *, name: str | None = None, status: ClientStatus | None = None
) -> Client:
    """Rename, close or reopen a client; what is None stays. Raises `client_not_found`, `client_has_accounts`."""
    client = await held_client(tx, client_id)
    changed: dict[str, str] = {}
    if name is not None and name != client.name:
        client.name = changed["name"] = name
    if status is not None and status != client.status:
        check_client_change(status, open_accounts=await repository.open_accounts_of(tx, client_id))
        client.status = changed["status"] = status.value
    if changed:
        tx.emit("client.changed", client.id, changed)
        await tx.flush()
    return client


async def held_client(tx: Tx, client_id: UUID) -> Client:
    """The client as it stays until `tx` ends: whoever else changes it waits. Raises `client_not_found`."""
    client = await repository.lock_client(tx, client_id, shared=False)
    if client is None:
        raise not_found("client", encode_id(CLIENT, client_id))
    return client


async def get_client(tx: Tx, client_id: UUID) -> Client:
    """Raises `client_not_found`."""
    client = await tx.get(Client, client_id)
    if client is None:
        raise not_found("client", encode_id(CLIENT, client_id))
    return client


async def list_clients(tx: Tx, cursor: Cursor, *, external_ref: str | None = None) -> Slice[Client]:
    """One page of the tenant's clients, newest first; `external_ref` finds one by the tenant's own number."""
    return cursor.cut(await repository.clients(tx, cursor, external_ref))


async def create_account(
    tx: Tx,
    asked: NewAccount,
    *,
    books: Books,
    now: datetime,
    client_id: UUID | None = None,
    account_id: UUID | None = None,
) -> Account:
    """Open a paper account and fund it by a journal entry, both or neither.

    `now` is market time, the entry's effective date. A seed that must be repeatable passes `account_id`. Raises what
    `check_new_account` says, `charge_schedule_not_found`, `client_not_found`, `client_closed` and `quota_exceeded`.
    """
    schedule = schedule_named(asked.schedule_name)
    check_new_account(asked, schedule_currency=schedule.currency, key_mode=_mode(tx) or asked.mode)
    if client_id is not None:
        client = await repository.lock_client(tx, client_id, shared=True)
        if client is None:
            raise not_found("client", encode_id(CLIENT, client_id))
        check_client_open(ClientStatus(client.status))
    await consume(tx, QuotaName.ACCOUNTS)
    account = Account(
        tenant_id=tx.tenant_id,
        id=account_id or uuid7(),
        client_id=client_id,
        name=asked.name,
        mode=asked.mode.value,
        currency=asked.currency,
        broker=asked.broker,
        feed=asked.feed,
        charge_schedule=asked.schedule_name,
        slippage_bps=asked.slippage_bps,
    )
    tx.add(account)
    tx.emit(
        "account.opened",
        account.id,
        {
            "name": account.name,
            "mode": account.mode,
            "currency": account.currency,
            "opening_balance": format_scaled(asked.opening_balance.minor, currency_exponent(account.currency)),
        },
        account_id=account.id,
    )
    await tx.flush()
    await books.open(tx, account.id, asked.opening_balance, now=now)
    return account


async def check_mode_of_all(tx: Tx) -> None:
    """What concerns all accounts takes a live key once a live one is among them. Raises `live_key_needed`."""
    if _mode(tx) is Mode.TEST and await repository.has_live(tx):
        raise DomainError(
            "live_key_needed",
            Kind.FORBIDDEN,
            "This holds for live accounts, too: use a live key, or set it for a test account alone.",
        )


async def get_account(tx: Tx, account_id: UUID) -> Account:
    """Raises `account_not_found`, also for an account of the other mode than the caller's key."""
    account = await tx.get(Account, account_id)
    if account is None or _mode(tx) not in (None, Mode(account.mode)):
        raise not_found("account", encode_id(PREFIX, account_id))
    return account


async def list_accounts(tx: Tx, cursor: Cursor, *, client_id: UUID | None = None) -> Slice[Account]:
    """One page of the tenant's accounts that the caller's key may see, newest first; of one client if named."""
    return cursor.cut(await repository.accounts(tx, cursor, _mode(tx), client_id))
