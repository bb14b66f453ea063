"""The tasks of trading: each wakes shards of one queue and leaves everything else to the application."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from app.bootstrap import open_brokers
from app.infra.process import App
from app.infra.work import runner
from app.infra.work.relay import taken
from app.infra.work.runner import Handler
from app.trading.orders.service import handlers, open_desk
from app.trading.strategies.service import run_due as run_due_deployments
from workers.main import celery
from workers.process import current


@cache
def _handlers() -> Mapping[str, Handler]:
    app = current().app
    return handlers(open_desk(app, open_brokers(app)))


async def _drain(app: App, queue: str, shards: Sequence[int]) -> None:
    process = current()
    await taken(app.redis, queue, shards)
    drain = runner.drain(app.database.dispatch, _handlers(), queue, *shards, holder=process.holder)
    await process.patience.wait(drain)


async def _run_due(app: App, queue: str, shards: Sequence[int]) -> None:
    await taken(app.redis, queue, shards)
    for shard in shards:
        await run_due_deployments(app, shard)


@celery.task(queue="execution")  # type: ignore[untyped-decorator]
def drain(*, queue: str, shards: Sequence[int], **_: Any) -> None:
    current().run(lambda app: _drain(app, queue, shards))


@celery.task(queue="strategies")  # type: ignore[untyped-decorator]
def run_due(*, queue: str = "strategies", shards: Sequence[int], **_: Any) -> None:
    current().run(lambda app: _run_due(app, queue, shards))
