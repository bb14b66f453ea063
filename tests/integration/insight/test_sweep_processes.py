"""Sweeps over processes of their own: the same bytes as in one, and a clear word when one dies."""

import json
import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

from app.insight.backtest.service import prepare_files
from app.insight.research.domain import combinations, named
from app.insight.research.service import Cut, sweep_files, walk_files
from app.insight.research.service.chunks import Chunk, measure_chunk, setup_of
from app.insight.research.service.pool import interrupt_held_back, run_spread
from app.kernel.errors import DomainError
from tests.unit.insight.research.conftest import CROSS, searched, space

pytestmark = pytest.mark.integration


def test_a_sweep_is_the_same_with_any_number_of_processes() -> None:
    over = space(slow="20:60:5")
    alone, several = (json.dumps(sweep_files(searched(over, processes=number))[0]) for number in (1, 2))
    assert alone == several


def test_a_walk_forward_is_the_same_with_any_number_of_processes() -> None:
    alone, several = (json.dumps(walk_files(searched(processes=number), Cut(250, 100))) for number in (1, 2))
    assert alone == several


def test_processes_end_when_the_caller_stops_reading() -> None:
    asked = searched()
    ready = prepare_files(asked.run)
    sets = named(asked.space, combinations(asked.space))

    def endless() -> Iterator[Chunk]:
        return (Chunk(number, sets) for number in count())

    others = multiprocessing.active_children()
    reading = run_spread(setup_of(CROSS, {}, ready), ready.bars, measure_chunk, endless(), processes=2)
    chunk, found = next(reading)
    assert len(found) == len(chunk.sets) == 12
    reading.close()  # type: ignore[attr-defined]
    assert [child for child in multiprocessing.active_children() if child not in others] == []


def test_a_process_that_dies_ends_the_sweep_with_a_word() -> None:
    def kill(done: int, of: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(DomainError, match="fewer processes") as refused:
        sweep_files(searched(space(fast="2:15", slow="16:80"), processes=2), kill)
    assert refused.value.code == "process_died"


def test_an_interrupt_that_another_thread_takes_waits_until_a_process_has_started() -> None:
    ready, over = threading.Event(), threading.Event()

    def library() -> None:
        ready.set()
        over.wait()

    other = threading.Thread(target=library)
    other.start()
    ready.wait()
    started = False
    try:
        with pytest.raises(KeyboardInterrupt), interrupt_held_back():
            signal.pthread_kill(other.ident or 0, signal.SIGINT)
            time.sleep(0.05)
            started = True
        assert started
    finally:
        over.set()
        other.join()
