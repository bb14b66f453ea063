"""The rule that a figure needs equal results: what differs is found, and named by its place."""

import numpy as np

from tests.bench.measure import difference, figure, in_turn

CURVE = np.array([100, 101, 99])
FILLS = np.array([[1, 0, 1, 5, 100, 1], [2, 0, -1, 5, 101, 1]])


def test_equal_results_do_not_differ() -> None:
    assert difference(CURVE, CURVE.copy(), FILLS, FILLS.copy()) is None


def test_a_curve_that_differs_by_one_is_named_with_its_row() -> None:
    assert difference(CURVE, np.add(CURVE, [0, 0, 1]), FILLS, FILLS) == "equity differs from row 2 on: 99 against 100"


def test_a_fill_that_differs_or_is_missing_is_named_with_its_number() -> None:
    dearer = np.add(FILLS, [[0] * 6, [0, 0, 0, 0, 1, 0]])
    assert "number 1: [2, 0, -1, 5, 101, 1] against [2, 0, -1, 5, 102, 1]" in str(
        difference(CURVE, CURVE, FILLS, dearer)
    )
    assert "2 fills against 1; number 1: [2, 0, -1, 5, 101, 1] against none" in str(
        difference(CURVE, CURVE, FILLS, FILLS[:1])
    )


def test_works_are_run_in_turn() -> None:
    done: list[str] = []
    in_turn(lambda: done.append("ours"), lambda: done.append("limit"), rounds=2)
    assert done == ["ours", "limit", "ours", "limit"]


def test_a_ratio_is_ours_over_the_limit() -> None:
    assert figure("W1b", 30.0, 6.0, "ns/bar")["ratio"] == 5.0
