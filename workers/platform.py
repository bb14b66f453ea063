"""The task of the platform: a wake-up of the queue `default` drains shards; it sends webhooks and payments."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from app.adapters.sandbox.payments import SandboxPayments
from app.custody.funding.service import handlers as payment_handlers
from app.infra.outbound.client import OutboundClient
from app.infra.process import App
from app.infra.work import runner
from app.infra.work.relay import taken
from app.infra.work.runner import Handler
from app.platform.notifications.service import handlers
from workers.main import celery
from workers.process import current


@cache
def _handlers() -> Mapping[str, Handler]:
    app = current().app
    sender = OutboundClient(loopback=app.settings.environment == "local")
    return {**handlers(app, sender), **payment_handlers(app, SandboxPayments())}


async def _drain(app: App, queue: str, shards: Sequence[int]) -> None:
    process = current()
    await taken(app.redis, queue, shards)
    drain = runner.drain(app.database.dispatch, _handlers(), queue, *shards, holder=process.holder)
    await process.patience.wait(drain)


@celery.task(queue="default")  # type: ignore[untyped-decorator]
def drain_default(*, queue: str = "default", shards: Sequence[int], **_: Any) -> None:
    current().run(lambda app: _drain(app, queue, shards))
