"""Decides when trades settle: each account's, once its feed's clock has passed the close of the settlement day.

What is due stands in rows of `settlements`, one per account, instrument and trading day, written with the fills. An
account settles in one transaction; a row that was settled is not pending, so a second run finds nothing.
"""

import asyncio

import asyncpg
import structlog

from app.infra.process import App
from app.infra.waiting import set_within

BATCH = 500
SECONDS = 1
_DUE = "select tenant_id, account_id, market_at from portfolio_due_settlements($1)"
_SETTLE = "select portfolio_settle($1, $2, $3)"
log = structlog.get_logger(__name__)


async def settle_due(app: App) -> int:
    """Settle what is due on every feed's clock. Returns how many rows of work that were.

    An account that cannot be settled is logged and stops no other; it stays due.
    """
    settled = 0
    for due in await app.database.dispatch.fetch(_DUE, BATCH):
        try:
            settled += await app.database.pool.fetchval(_SETTLE, *due)
        except asyncpg.PostgresError as error:
            log.error(
                "settlement.failed",
                tenant_id=str(due["tenant_id"]),
                account_id=str(due["account_id"]),
                error=type(error).__name__,
            )
    return settled


async def run_settlements(app: App, *, stop: asyncio.Event) -> None:
    """Until `stop`."""
    while not stop.is_set():
        if not await settle_due(app):
            await set_within(stop, SECONDS)
