"""Decides how news of live orders reach us: a broker's push only says that there are some, its book says which.

So news that come twice, late, out of order or never make no difference: what counts is the book as it stands, and it is
read at every push, at every turn of a clock, and before anything else when a connection begins.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import asyncpg
import structlog

from app.infra.waiting import set_within
from app.trading.brokers.ports import Broker, BrokerAccount, NoAnswer, SessionExpired, Throttled, Updates
from app.trading.orders.service.executing import Desk
from app.trading.orders.service.reconciling import Book, read_book
from app.trading.orders.service.resolving import LOGIN_SECONDS

POLL_SECONDS = 1
"""Between two reads while something works and nobody pushes."""

IDLE_SECONDS = 5
"""Between two reads of a book that pushes its news, or in which nothing works."""

GATHER = timedelta(milliseconds=250)
"""A push is followed by others: one read serves them all, and stays within a broker's ten calls a second."""

RETRY_SECONDS = (1, 1, 2, 5)
ACCOUNTS_SECONDS = 5
log = structlog.get_logger(__name__)
_ACCOUNTS = "select tenant_id, account_id, broker from accounts_at_brokers($1)"


async def run_listener(dispatch: asyncpg.Pool, desk: Desk, *, stop: asyncio.Event) -> None:
    """Until `stop`, listen for every account whose broker does not execute in our own transactions."""
    heard = {name: one for name, one in desk.brokers.items() if one.capabilities.updates is not Updates.NONE}
    listening: dict[BrokerAccount, asyncio.Task[None]] = {}
    try:
        while not stop.is_set():
            if heard:
                await _look_after(dispatch, desk, heard, listening, stop)
            await set_within(stop, ACCOUNTS_SECONDS)
    finally:
        for task in listening.values():
            task.cancel()
        await asyncio.gather(*listening.values(), return_exceptions=True)


async def _look_after(
    dispatch: asyncpg.Pool,
    desk: Desk,
    heard: Mapping[str, Broker],
    listening: dict[BrokerAccount, asyncio.Task[None]],
    stop: asyncio.Event,
) -> None:
    """Begin with accounts that are new, end with those that are gone."""
    rows = await dispatch.fetch(_ACCOUNTS, list(heard))
    wanted: dict[BrokerAccount, str] = {
        BrokerAccount(row["tenant_id"], row["account_id"]): row["broker"] for row in rows
    }
    for account in listening.keys() - wanted.keys():
        listening.pop(account).cancel()
    for account, name in wanted.items():
        if account not in listening:
            listening[account] = asyncio.create_task(listen(desk, account, heard[name], stop=stop))


async def listen(desk: Desk, account: BrokerAccount, broker: Broker, *, stop: asyncio.Event) -> None:
    """Listen for one account until `stop`. Whatever fails, it begins again, and reads the book first."""
    failures = 0
    while not stop.is_set():
        try:
            await _connection(desk, Book(account, broker), stop)
            failures = 0
        except Exception as error:
            failures += 1
            _log_failure(account.account_id, error)
        await set_within(stop, RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])


def _log_failure(account_id: UUID, error: Exception) -> None:
    if isinstance(error, ConnectionError):
        log.warning("listener.no_connection", account=str(account_id))
    else:
        log.error("listener.failed", account=str(account_id), exc_info=error)


async def _connection(desk: Desk, book: Book, stop: asyncio.Event) -> None:
    """As long as one connection holds; without push, until `stop`. Raises what ended it."""
    pushes = book.broker.capabilities.updates is Updates.PUSH
    news = asyncio.Event()
    hearing = asyncio.create_task(_hear(book, news)) if pushes else None
    reconciled = False
    try:
        while not stop.is_set() and (hearing is None or not hearing.done()):
            news.clear()
            excuse = await read_book(desk, book, differences=not reconciled)
            reconciled = reconciled or excuse is None
            idle = IDLE_SECONDS if pushes or not book.working else POLL_SECONDS
            if excuse is not None:
                await set_within(stop, _wait_for(excuse).total_seconds())
            elif await set_within(news, idle):
                await set_within(stop, GATHER.total_seconds())
        if hearing is not None and hearing.done():
            hearing.result()
    finally:
        if hearing is not None:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)


async def _hear(book: Book, news: asyncio.Event) -> None:
    """Until the connection ends; then, too, there is something to look for."""
    try:
        async for _ in book.broker.updates(book.account):
            news.set()
    finally:
        news.set()


def _wait_for(excuse: NoAnswer) -> timedelta:
    match excuse:
        case SessionExpired():
            return timedelta(seconds=LOGIN_SECONDS)
        case Throttled(seconds):
            return timedelta(seconds=max(seconds, POLL_SECONDS))
    return timedelta(seconds=POLL_SECONDS)
