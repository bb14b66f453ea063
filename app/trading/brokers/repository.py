"""Decides how a call's turn is asked for, of all processes' calls together."""

import asyncio

import asyncpg

from app.trading.brokers.domain import WINDOW, Pace
from app.trading.brokers.ports import BrokerAccount

_TAKE_TURN = "select brokers_take_turn($1, $2, $3, $4, $5, $6)"


async def take_turn(pool: asyncpg.Pool, account: BrokerAccount, pace: Pace, *, entry: bool, within: float) -> float:
    """0.0 when the call may be made now, and it is counted; else the seconds until it may ask again. Raises what
    asyncpg raises, TimeoutError after `within` seconds."""
    asked = account.tenant_id, account.account_id, entry, pace.calls, pace.entries, WINDOW
    async with asyncio.timeout(within):  # of the wait for a connection, too
        wait = await pool.fetchval(_TAKE_TURN, *asked)
    return float(wait.total_seconds())
