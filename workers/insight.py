"""The task of backtests and sweeps: a wake-up names a shard and returns at once; slots of the process run its work."""

from contextlib import suppress
from functools import cache, partial
from typing import Any

from app.infra.process import App
from app.infra.redis import REDIS_ERRORS
from app.infra.work import runner
from app.infra.work.relay import sent_key
from app.infra.work.slots import Slots
from app.insight.backtest.service import handlers as backtests
from app.insight.research.service import handlers as sweeps
from workers.main import celery
from workers.process import current


async def _serve(app: App, holder: str, shard: int) -> int:
    """One backtest, or chunk of a sweep, of the shard."""
    with suppress(*REDIS_ERRORS):
        await app.redis.delete(sent_key("backtests", shard))  # from here on, new work needs a new wake-up
    return await runner.drain(
        app.database.dispatch, {**backtests(app), **sweeps(app)}, "backtests", shard, holder=holder, lanes=1
    )


@cache
def _slots() -> Slots:
    process = current()
    slots = Slots(partial(_serve, process.app, process.holder), at_once=process.app.settings.worker_concurrency)
    process.closing.append(slots.close)
    return slots


async def _wake(_: App, shard: int) -> None:
    _slots().wake(shard)


@celery.task(queue="backtests")  # type: ignore[untyped-decorator]
def run_backtests(*, shard: int, **_: Any) -> None:
    current().run(lambda app: _wake(app, shard))
