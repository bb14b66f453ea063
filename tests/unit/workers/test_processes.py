"""How long tasks, leases and messages live, and what Celery may never be told."""

import pytest

from app.infra.work.runner import DRAIN_SECONDS, ITEM_TIMEOUT, LEASE
from workers import main
from workers.process import TASK_SECONDS, current


def test_a_task_outlives_a_drain_and_a_message_outlives_a_task() -> None:
    assert LEASE.total_seconds() > ITEM_TIMEOUT
    assert TASK_SECONDS > DRAIN_SECONDS + ITEM_TIMEOUT
    assert main.VISIBILITY_S > TASK_SECONDS
    assert main.celery.conf.broker_transport_options["visibility_timeout"] == main.VISIBILITY_S


def test_every_queue_that_is_woken_is_consumed() -> None:
    assert set(main.TASKS) <= set(main.QUEUES)
    assert {queue.name for queue in main.celery.conf.task_queues} == set(main.QUEUES)


def test_tasks_are_acknowledged_late_and_keep_no_results() -> None:
    conf = main.celery.conf
    assert (conf.task_acks_late, conf.worker_prefetch_multiplier, conf.task_ignore_result) == (True, 1, True)
    assert conf.result_backend is None
    assert conf.broker_connection_retry and conf.broker_connection_max_retries is None


def test_a_task_outside_a_worker_says_so() -> None:
    with pytest.raises(RuntimeError, match="python -m workers worker"):
        current()
