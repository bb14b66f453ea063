"""Decides what a table of tried parameters shows: its heat map and the neighbourhood of a point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.quant.performance import Array

Int64 = npt.NDArray[np.int64]
MAX_CELLS = 40
"""Rows and columns of a heat map; longer axes are gathered in equal parts."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One side of a heat map: `labels` (low, high) of each cell, equal where a cell is one value."""

    labels: list[tuple[float, float]]
    cells: Int64
    """i8 (points,): the cell of each point."""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """`best` and `mean` f8 (y, x) of the metric over all points of a cell, NaN where none is; `counts` i8 (y, x)."""

    x: Axis
    y: Axis
    best: Array
    mean: Array
    counts: Int64


def cut(values: Array, most: int = MAX_CELLS) -> Axis:
    """The cells of one parameter: its own values when they are few, else as many equal parts of their ranks."""
    distinct, place = np.unique(values, return_inverse=True)
    count = min(len(distinct), most)
    cell_of = np.arange(len(distinct)) * count // max(len(distinct), 1)
    labels = [(float(distinct[cell_of == i].min()), float(distinct[cell_of == i].max())) for i in range(count)]
    return Axis(labels, cell_of[place].astype(np.int64))


def heat_map(x: Array, y: Array, metric: Array, *, most: int = MAX_CELLS) -> HeatMap:
    """Of points with coordinates `x`, `y` and a `metric`, f8 (points,); a point without a metric (NaN) is left out."""
    across, up = cut(x, most), cut(y, most)
    shape = (len(up.labels), len(across.labels))
    best, total, counts = np.full(shape, -np.inf), np.zeros(shape), np.zeros(shape, np.int64)
    known = ~np.isnan(metric)
    place = (up.cells[known], across.cells[known])
    np.maximum.at(best, place, metric[known])
    np.add.at(total, place, metric[known])
    np.add.at(counts, place, 1)
    with np.errstate(invalid="ignore"):
        mean = np.where(counts > 0, total / counts, np.nan)
    return HeatMap(across, up, np.where(counts > 0, best, np.nan), mean, counts)


def grid_neighbours(points: Array, at: int) -> list[int]:
    """Points that differ from `points[at]` by at most one step of each parameter. `points` f8 (points, parameters)."""
    near = np.ones(len(points), bool)
    for values in points.T:
        _, rank = np.unique(values, return_inverse=True)
        near &= np.abs(rank - rank[at]) <= 1
    near[at] = False
    return [int(i) for i in np.flatnonzero(near)]


def nearest(points: Array, at: int, count: int) -> list[int]:
    """The `count` points nearest to `points[at]`, each parameter measured in shares of its range; ties by order."""
    span = points.max(axis=0) - points.min(axis=0)
    scaled = (points - points[at]) / np.where(span > 0, span, 1.0)
    distance = np.sqrt((scaled * scaled).sum(axis=1))
    distance[at] = np.inf
    order = np.argsort(distance, kind="stable")[: min(count, len(points) - 1)]
    return [int(i) for i in order]


def ranked(metric: Sequence[float] | Array) -> Int64:
    """Indices from the highest metric to the lowest; NaN last; ties in the order of the points."""
    values = np.asarray(metric, dtype=np.float64)
    order: Int64 = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable").astype(np.int64)
    return order
