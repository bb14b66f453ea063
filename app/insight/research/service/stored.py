"""Runs the chunks of a stored search and puts its result together. Blocking, without database or clock.

A chunk's figures are JSON: what one worker writes, another reads back bit for bit.
"""

import json
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from app.insight.backtest.domain import data_section
from app.insight.backtest.service import Prepared, prepare_plan
from app.insight.research.domain import Measured, Search, combinations, named
from app.insight.research.service.chunks import Check, Chunk, Setup, measure_chunk, run_sets, score_chunk, setup_of
from app.insight.research.service.documents import sweep_document, walk_document
from app.insight.research.service.pool import T, Work
from app.insight.research.service.sweeping import Points, folds_of, sweep, walk, windows_of

Figures = list[dict[str, Any]] | list[list[float | None]]
_MEASURED = TypeAdapter(list[Measured])


class Stored:
    """A search with its bars read. Raises `bars_corrupt` and what `prepare_plan` raises."""

    def __init__(self, search: Search, data_dir: Path) -> None:
        self.search, self.space = search, search.space
        self.points: Points = combinations(self.space)
        self.made: Prepared = prepare_plan(search.plan, data_dir)
        self.setup: Setup = setup_of(search.plan.program, search.plan.parameters, self.made)
        self.folds = (
            None if search.cut is None else folds_of(self.made.bars, search.cut, self.made.first_row, len(self.points))
        )

    def chunk(self, number: int, size: int, check: Check) -> tuple[int, bytes]:
        """How many of the chunk's combinations could run, and their figures."""
        sets = named(self.space, self.points[number * size : (number + 1) * size])
        if self.folds is None:
            found = measure_chunk(self.setup, self.made.bars, Chunk(number, sets), check)
            return sum(one.refusal is None for one in found), _packed(_MEASURED.dump_python(found, mode="python"))
        chunk = Chunk(number, sets, windows_of(self.folds), self.search.metric)
        table = score_chunk(self.setup, self.made.bars, chunk, check)
        rows = [[None if math.isnan(value) else value for value in row] for row in table.tolist()]
        return int(table[:, 0].sum()), _packed(rows)

    def document(self, figures: Sequence[bytes], size: int, earlier: int) -> dict[str, Any]:
        """The result document. Raises what the first combination raises when none could run."""
        search, made = self.search, self.made
        data = data_section(made.bars, made.sources, made.instruments, made.first_row)

        def run(_: Work[T], chunks: Iterable[Chunk], /) -> Iterator[tuple[Chunk, Any]]:
            for chunk, packed in zip(chunks, figures, strict=True):
                found: Any = json.loads(zlib.decompress(packed))
                yield chunk, _MEASURED.validate_python(found) if self.folds is None else np.array(found, np.float64)

        if self.folds is None or search.cut is None:
            measured = sweep(self.space, self.points, run, size=size)
            if all(one.refusal is not None for one in measured):
                self._refuse()
            return sweep_document(
                self.setup, self.space, self.points, measured, data=data, metric=search.metric, earlier=earlier
            )
        walked = walk(self.setup, made.bars, self.space, self.points, run, self.folds, metric=search.metric, size=size)
        if walked.ran == 0:
            self._refuse()
        return walk_document(
            self.setup, made.bars, self.space, self.points, walked, data=data, cut=search.cut, metric=search.metric,
            earlier=earlier,
        )  # fmt: skip

    def _refuse(self) -> None:
        next(run_sets(self.setup, self.made.bars, named(self.space, self.points[:1])))


def _packed(figures: Figures) -> bytes:
    return zlib.compress(json.dumps(figures, separators=(",", ":"), allow_nan=False).encode(), 6)
