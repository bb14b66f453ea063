"""Decides how Celery is used: a wake-up may be lost, late or doubled, since all work is rows in PostgreSQL."""

from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.apps import worker as celery_program
from celery.signals import setup_logging, worker_ready
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from app.infra.heap import keep_what_is_there
from app.infra.settings import Settings
from workers.process import TASK_SECONDS, open_process

QUEUES = ("execution", "strategies", "backtests", "default")
TASKS = {
    "execution": "workers.trading.drain",
    "strategies": "workers.trading.run_due",
    "backtests": "workers.insight.run_backtests",
    "default": "workers.platform.drain_default",
}
"""Which task a wake-up on a queue starts."""

THREADS = 8
"""Tasks at once for each unit of `WORKER_CONCURRENCY`: they only wait for the loop, so one slow shard holds up none."""

VISIBILITY_S = 4 * int(TASK_SECONDS)
"""An unacknowledged message comes back after this; it must exceed the longest task."""

celery = Celery("mandi", include=["workers.trading", "workers.insight", "workers.platform"])
celery.conf.update(
    accept_content=["json"],
    broker_connection_max_retries=None,
    broker_connection_retry=True,
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=2,
    broker_pool_limit=4,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_S,
        "unacked_restore_interval": 5,
        "unacked_restore_limit": 100,
        "socket_connect_timeout": 2,
        "socket_timeout": 10,
        "socket_keepalive": True,
    },
    task_acks_late=True,
    task_create_missing_queues=False,
    task_default_queue="default",
    task_ignore_result=True,
    task_queues=[Queue(name) for name in QUEUES],  # type: ignore[no-untyped-call]
    task_serializer="json",
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=1,
    worker_redirect_stdouts=False,
    worker_send_task_events=False,
)


@setup_logging.connect  # type: ignore[untyped-decorator]
def _keep_logging(**_: Any) -> None:
    """Connected, so Celery leaves logging as `setup_telemetry` made it."""


@worker_ready.connect  # type: ignore[untyped-decorator]
def _ready(**_: Any) -> None:
    keep_what_is_there()


def configure(settings: Settings) -> Celery:
    """The Celery application on the settings' broker."""
    celery.conf.broker_url = settings.redis_url.get_secret_value()
    return celery


def send_wake_up(queue: str, shards: Sequence[int]) -> None:
    """Wake a worker for `shards` of `queue`. Blocking; raises `ConnectionError` when the broker stays away."""
    policy = {"max_retries": 2, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2}
    try:
        celery.send_task(
            TASKS[queue],
            kwargs={"queue": queue, "shards": list(shards)},
            queue=queue,
            ignore_result=True,
            retry=True,
            retry_policy=policy,
        )
    except OperationalError as error:
        raise ConnectionError(str(error)) from error


def run_worker(settings: Settings, *, queues: Sequence[str] | None = None) -> int:
    """Work until SIGTERM, then finish what runs. Returns the exit code."""
    unknown = sorted(set(queues or ()) - set(QUEUES))
    if unknown:
        raise SystemExit(f"unknown queues: {', '.join(unknown)} (there are {', '.join(QUEUES)})")
    configure(settings)
    celery_program.safe_say = lambda *_: None  # its signal handlers print plain text between lines of JSON
    with open_process(settings):
        worker = celery.Worker(
            pool="threads",
            concurrency=THREADS * settings.worker_concurrency,
            queues=list(queues or QUEUES),
            quiet=True,
            without_gossip=True,
            without_heartbeat=True,
            without_mingle=True,
        )
        worker.start()
    return int(worker.exitcode or 0)
