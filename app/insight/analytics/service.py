"""Gathers an account's history and judges it. Nothing is stored: the same rows always give the same answer."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from app.custody.accounts.service import get_account
from app.infra.database import Tx
from app.insight.analytics import repository
from app.insight.analytics.domain import Assessment, History, assess
from app.kernel.money import currency_exponent
from app.market.data.service import load_bars, read_feed_state
from app.trading.strategies.service import get_deployment

INTERVAL = "1d"


@dataclass(frozen=True, slots=True)
class Report:
    """What an account, or one deployment on it, earned; money in minor units of `currency`."""

    account_id: UUID
    deployment_id: UUID | None
    currency: str
    assessment: Assessment


async def account_performance(tx: Tx, data_dir: Path, account_id: UUID) -> Report:
    """From the account's opening to the last close of its feed. Raises `account_not_found`, `bars_not_found`."""
    return await _report(tx, data_dir, account_id)


async def deployment_performance(tx: Tx, data_dir: Path, deployment_id: UUID) -> Report:
    """Its account while it ran: a deployment has the account to itself. Raises `deployment_not_found`."""
    found = await get_deployment(tx, deployment_id)
    until = found.last_bar if found.status == "stopped" else None
    return await _report(tx, data_dir, found.account_id, deployment_id, since=found.first_bar, until=until)


async def _report(
    tx: Tx,
    data_dir: Path,
    account_id: UUID,
    deployment_id: UUID | None = None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Report:
    account = await get_account(tx, account_id)
    feed = await read_feed_state(tx, account.feed)
    cash = await repository.cash_entries(tx, account_id)
    trades = await repository.trades(tx, account_id)
    history = History(
        cash=cash,
        trades=trades,
        actions=await repository.actions(tx, account_id),
        bars={one: await load_bars(tx, data_dir, one, INTERVAL) for one in {trade.instrument_id for trade in trades}},
        money_exp=currency_exponent(account.currency),
    )
    # a feed that never ran has no closes: the account is then judged at its opening
    complete = feed.watermark if feed else min((entry.at for entry in cash), default=account.created_at)
    as_of = min(complete, until) if until else complete
    found = await asyncio.to_thread(assess, history, as_of=as_of, since=since)
    return Report(account_id, deployment_id, account.currency, found)
