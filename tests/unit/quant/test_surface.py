"""Heat maps and neighbourhoods of tried parameters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.quant.surface import cut, grid_neighbours, heat_map, nearest, ranked


def test_a_cell_holds_the_best_and_the_mean_of_the_other_parameters() -> None:
    x, y = np.array([1.0, 1, 2, 2, 2]), np.array([5.0, 5, 5, 6, 6])
    found = heat_map(x, y, np.array([0.1, 0.3, 0.2, np.nan, -0.5]))
    assert found.x.labels == [(1, 1), (2, 2)] and found.y.labels == [(5, 5), (6, 6)]
    assert found.counts.tolist() == [[2, 1], [0, 1]]
    np.testing.assert_array_equal(found.best, [[0.3, 0.2], [np.nan, -0.5]])
    np.testing.assert_allclose(found.mean, [[0.2, 0.2], [np.nan, -0.5]])


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=200), st.integers(1, 12))
def test_long_axes_are_cut_into_parts_that_hold_every_point_once(values: list[int], most: int) -> None:
    found = cut(np.array(values, float), most)
    assert len(found.labels) <= most
    for value, cell in zip(values, found.cells.tolist(), strict=True):
        low, high = found.labels[cell]
        assert low <= value <= high
    assert all(one[1] < other[0] for one, other in zip(found.labels, found.labels[1:], strict=False))


def test_neighbours_of_a_grid_differ_by_one_step_at_most() -> None:
    points = np.array([[a, b] for a in (1, 5, 20) for b in (0.1, 0.2, 0.4, 0.8)])
    corner = grid_neighbours(points, 0)
    assert points[corner].tolist() == [[1, 0.2], [5, 0.1], [5, 0.2]]
    assert len(grid_neighbours(points, 5)) == 8


def test_the_nearest_are_measured_in_shares_of_each_range() -> None:
    points = np.array([[0.0, 0.0], [0.0, 100.0], [0.4, 0.0], [1.0, 1000.0]])
    assert nearest(points, 0, 2) == [1, 2]
    assert nearest(points, 0, 10) == [1, 2, 3]
    assert nearest(np.zeros((1, 2)), 0, 3) == []


def test_the_best_stands_first_and_the_unknown_last() -> None:
    assert ranked([0.5, np.nan, 0.7, 0.5]).tolist() == [2, 0, 3, 1]
    assert ranked([np.nan, -1.0]).tolist() == [1, 0]


def test_a_single_point_is_a_map_of_one_cell() -> None:
    found = heat_map(np.array([3.0]), np.array([4.0]), np.array([1.5]))
    assert found.best.tolist() == [[1.5]]
    assert found.best[0, 0] == pytest.approx(found.mean[0, 0])
