"""The tasks of trading: each wakes one shard of one queue and leaves everything else to the application."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from app.bootstrap import open_brokers
from app.infra.process import App
from app.infra.redis import REDIS_ERRORS
from app.infra.work import runner
from app.infra.work.relay import sent_key
from app.infra.work.runner import Handler
from app.trading.orders.service import handlers, open_desk
from app.trading.strategies.service import run_due as run_due_deployments
from workers.main import celery
from workers.process import current


@cache
def _handlers() -> Mapping[str, Handler]:
    app = current().app
    return handlers(open_desk(app, open_brokers(app)))


async def _drain(app: App, queue: str, shard: int) -> None:
    process = current()
    await _taken(app, queue, shard)
    drain = runner.drain(app.database.dispatch, _handlers(), queue, shard, holder=process.holder)
    await process.patience.wait(drain)


async def _run_due(app: App, queue: str, shard: int) -> None:
    await _taken(app, queue, shard)
    await run_due_deployments(app, shard)


async def _taken(app: App, queue: str, shard: int) -> None:
    """From here on, new work of the shard needs a new wake-up. Without Redis the key expires by itself."""
    with suppress(*REDIS_ERRORS):
        await app.redis.delete(sent_key(queue, shard))


@celery.task(queue="execution")  # type: ignore[untyped-decorator]
def drain(*, queue: str, shard: int, **_: Any) -> None:
    current().run(lambda app: _drain(app, queue, shard))


@celery.task(queue="strategies")  # type: ignore[untyped-decorator]
def run_due(*, queue: str = "strategies", shard: int, **_: Any) -> None:
    current().run(lambda app: _run_due(app, queue, shard))
