"""Runs chunks in this process, or spread over processes of their own that share one copy of the bars.

The processes are spawned: each opens the bars from a folder as a private mapping, whose pages they share. They end when
the work does, when the caller stops reading, on Ctrl-C, and when the caller dies.
"""

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from app.engine.bars import Bars
from app.insight.research.service.chunks import Check, Chunk, Setup

_ARRAYS = ("times", "days", "fields", "valid")
_AHEAD = 3
"""Chunks handed out per process: enough that none waits, few enough that memory does not grow with the search."""

T = TypeVar("T")
Work = Callable[[Setup, Bars, Chunk, Check], T]
"""What is done with a chunk: a function of a module, so that another process finds it."""


class Runner(Protocol):
    """Gives each chunk with what `work` made of it, in whatever order."""

    def __call__(self, work: Work[T], chunks: Iterable[Chunk], /) -> Iterator[tuple[Chunk, T]]: ...


class Stopped(Exception):
    """The caller asked the processes to end."""


def run_here(setup: Setup, bars: Bars, work: Work[T], chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, T]]:
    """Each chunk with its result, in this process."""
    for chunk in chunks:
        yield chunk, work(setup, bars, chunk, _unchecked)


def run_spread(
    setup: Setup, bars: Bars, work: Work[T], chunks: Iterable[Chunk], *, processes: int
) -> Iterator[tuple[Chunk, T]]:
    """Each chunk with its result, in the order in which they end, by so many processes."""
    context = multiprocessing.get_context("spawn")
    stop, others = context.Event(), multiprocessing.active_children()
    with tempfile.TemporaryDirectory(prefix="mandi-sweep-") as folder:
        for name in _ARRAYS:
            np.save(Path(folder) / f"{name}.npy", getattr(bars, name))
        pool = ProcessPoolExecutor(processes, context, _begin, (setup, folder, stop))
        try:
            waiting = iter(chunks)

            def hand_out(count: int) -> dict[Future[T], Chunk]:
                with interrupt_held_back():  # submitting starts processes
                    return {pool.submit(_work, work, one): one for one in islice(waiting, count)}

            running = hand_out(processes * _AHEAD)
            while running:
                done: set[Future[T]]
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
                    running |= hand_out(1)
        except BaseException:
            stop.set()  # what runs ends before its next set; what still starts is not waited for
            for process in multiprocessing.active_children():
                if process not in others:
                    process.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def interrupt_held_back() -> Iterator[None]:
    """Ctrl-C waits, and a process that starts meanwhile never sees it: it would die with a traceback of its own.

    Blocking it is not enough: another thread of this process, such as a library's, may be the one that takes it, and
    the main thread would be interrupted all the same, a process half started.
    """
    taken: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handler = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if handler is not None:
        signal.signal(signal.SIGINT, lambda number, _: taken.append(number))
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if taken:
        signal.raise_signal(signal.SIGINT)


_mine: dict[str, Any] = {}
"""What this process works with, once `_begin` has run in it."""


def _begin(setup: Setup, folder: str, stop: Event) -> None:
    from app.engine import warm

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller sees it, and sets `stop`
    threading.Thread(target=_die_with_parent, daemon=True).start()
    arrays = [np.asarray(np.load(Path(folder) / f"{name}.npy", mmap_mode="c")) for name in _ARRAYS]
    _mine.update(setup=setup, bars=Bars(*arrays), stop=stop)
    warm()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a pool starts this"
    parent.join()
    os._exit(1)


def _work(work: Work[T], chunk: Chunk) -> T:
    return work(_mine["setup"], _mine["bars"], chunk, _check)


def _check() -> None:
    if _mine["stop"].is_set():
        raise Stopped


def _unchecked() -> None:
    """Ctrl-C ends this process by itself."""
