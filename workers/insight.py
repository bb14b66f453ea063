"""The task of backtests and sweeps: a wake-up names shards and returns at once; slots of the process run its work."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from app.infra.process import App
from app.infra.work import runner
from app.infra.work.relay import taken
from app.infra.work.slots import Slots
from app.insight.backtest.service import handlers as backtests
from app.insight.research.service import handlers as sweeps
from workers.main import celery
from workers.process import current


async def _serve(app: App, holder: str, shard: int) -> int:
    """One backtest, or chunk of a sweep, of the shard."""
    await taken(app.redis, "backtests", [shard])
    return await runner.drain(
        app.database.dispatch, {**backtests(app), **sweeps(app)}, "backtests", shard, holder=holder, lanes=1
    )


@cache
def _slots() -> Slots:
    process = current()
    slots = Slots(partial(_serve, process.app, process.holder), at_once=process.app.settings.worker_concurrency)
    process.closing.append(slots.close)
    return slots


async def _wake(_: App, shards: Sequence[int]) -> None:
    for shard in shards:
        _slots().wake(shard)


@celery.task(queue="backtests")  # type: ignore[untyped-decorator]
def run_backtests(*, shards: Sequence[int], **_: Any) -> None:
    current().run(lambda app: _wake(app, shards))
