"""What a sweep tries: exact steps, repeatable draws, and refusals that name the axis."""

import math
from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.insight.research.domain import (
    MAX_COMBINATIONS,
    Axis,
    Integers,
    Space,
    Steps,
    Uniform,
    Values,
    check_names,
    combinations,
    family,
    parse_axis,
)
from app.kernel.errors import DomainError


def refusal(axes: Mapping[str, Axis], draws: int | None = None, seed: int = 0) -> DomainError:
    with pytest.raises(DomainError) as refused:
        combinations(Space(axes, draws, seed))
    assert refused.value.code == "invalid_sweep"
    return refused.value


def test_a_grid_takes_every_combination_the_last_axis_fastest() -> None:
    space = Space({"a": Values((1, 2)), "b": Steps(10, 30, 10)})
    assert combinations(space) == [(1, 10), (1, 20), (1, 30), (2, 10), (2, 20), (2, 30)]


@given(st.integers(-50, 50), st.integers(1, 40), st.integers(1, 60))
def test_decimal_steps_are_exact(start: int, step: int, count: int) -> None:
    first, by = start / 100, step / 100
    last = float(Decimal(start + step * (count - 1)) / 100)
    points = [value for (value,) in combinations(Space({"x": Steps(first, last, by)}))]
    assert points == [(start + step * i) / 100 for i in range(count)]


def test_whole_steps_stay_whole_and_others_do_not_become_whole() -> None:
    assert [type(value) for (value,) in combinations(Space({"x": Steps(1, 3, 1)}))] == [int] * 3
    assert [type(value) for (value,) in combinations(Space({"x": Steps(1.0, 3.0, 0.5)}))] == [float] * 5


@given(st.integers(0, 2**63 - 1), st.integers(1, 60))
def test_draws_repeat_and_a_longer_search_begins_with_the_shorter_one(seed: int, draws: int) -> None:
    axes: dict[str, Axis] = {
        "n": Integers(-3, 4),
        "u": Uniform(0.5, 2.5),
        "g": Uniform(0.001, 10.0, log=True),
        "c": Values((1, 7, 9)),
    }
    shorter, longer = (combinations(Space(axes, count, seed)) for count in (draws, draws + 20))
    assert shorter == combinations(Space(axes, draws, seed))
    assert longer[: len(shorter)] == shorter
    assert len(set(longer)) == len(longer)
    for n, u, g, c in longer:
        assert n in range(-3, 5) and isinstance(n, int)
        assert 0.5 <= u <= 2.5 and 0.001 <= g <= 10 and c in (1, 7, 9)


def test_draws_are_spread_over_their_range() -> None:
    axes: dict[str, Axis] = {"n": Integers(1, 5), "u": Uniform(0, 1), "g": Uniform(1e-4, 1.0, log=True)}
    points = combinations(Space(axes, 4000, 1))
    for value in range(1, 6):
        assert 650 < sum(point[0] == value for point in points) < 950
    assert sum(point[1] < 0.25 for point in points) == pytest.approx(1000, abs=120)
    assert sum(point[2] < 1e-2 for point in points) == pytest.approx(2000, abs=150)


def test_another_axis_changes_no_draw_of_this_one() -> None:
    alone = combinations(Space({"u": Uniform(0, 1)}, 50, 3))
    both = combinations(Space({"u": Uniform(0, 1), "v": Uniform(0, 1)}, 50, 3))
    assert [point[0] for point in both] == [point[0] for point in alone]


def test_repeated_draws_are_left_out() -> None:
    assert sorted(combinations(Space({"n": Integers(1, 3)}, 200, 0))) == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("axis", "word"),
    [
        (Values(()), "0 values"),
        (Values((1, 2, 1)), "twice"),
        (Values((math.nan,)), "moderate size"),
        (Values((1e16,)), "moderate size"),
        (Steps(5, 1, 1), "not below start"),
        (Steps(1, 5, 0), "positive"),
        (Steps(1, 5, -1), "positive"),
        (Steps(0, 1, 1e-9), "values; give"),
        (Steps(0.0, math.inf, 1), "moderate size"),
        (Integers(5, 4), "low must not exceed"),
        (Uniform(1.0, math.inf), "moderate size"),
        (Uniform(0.0, 1.0, log=True), "above zero"),
    ],
)
def test_a_faulty_axis_is_refused_by_name(axis: Axis, word: str) -> None:
    error = refusal({"ok": Values((1,)), "bad": axis}, draws=5)
    assert error.param == "grid.bad" and word in error.message


def test_a_range_without_steps_needs_draws() -> None:
    error = refusal({"x": Uniform(0, 1)})
    assert error.param == "grid.x" and "random" in error.message


def test_sizes_are_bounded() -> None:
    assert refusal({}).param == "grid"
    assert refusal({f"p{i}": Values((1,)) for i in range(9)}).param == "grid"
    error = refusal({"a": Steps(1, 1000), "b": Steps(1, 101)})
    assert error.param == "grid" and "101,000" in error.message
    assert len(combinations(Space({"a": Steps(1, 1000), "b": Steps(1, 100)}))) == MAX_COMBINATIONS
    assert refusal({"a": Values((1,))}, draws=MAX_COMBINATIONS + 1).param == "random"
    assert refusal({"a": Values((1,))}, draws=0).param == "random"
    assert refusal({"a": Values((1,))}, draws=5, seed=-1).param == "seed"


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("5:24:1", Steps(5, 24, 1)),
        ("5:24", Steps(5, 24, 1)),
        ("0.1:0.5:0.1", Steps(0.1, 0.5, 0.1)),
        ("3,1,2.5", Values((3, 1, 2.5))),
        ("7", Values((7,))),
        ("integers:5:24", Integers(5, 24)),
        ("uniform:0.1:2", Uniform(0.1, 2.0)),
        ("log:0.001:1", Uniform(0.001, 1.0, log=True)),
    ],
)
def test_the_written_forms(text: str, axis: Axis) -> None:
    assert parse_axis("x", text) == axis


@pytest.mark.parametrize("text", ["", "a", "1:b", "1:2:3:4", "integers:1", "integers:0.5:2", "uniform:1:2:3", "1,,2"])
def test_what_cannot_be_read_is_refused_by_name(text: str) -> None:
    with pytest.raises(DomainError) as refused:
        parse_axis("x", text)
    assert (refused.value.code, refused.value.param) == ("invalid_sweep", "grid.x")


def test_an_axis_must_be_a_parameter_of_the_program() -> None:
    with pytest.raises(DomainError, match="fast, slow") as refused:
        check_names(Space({"fats": Values((1,))}), {"slow": 1, "fast": 2}, {})
    assert refused.value.param == "grid.fats"
    with pytest.raises(DomainError, match="both fixed and varied"):
        check_names(Space({"fast": Values((1,))}), {"slow": 1, "fast": 2}, {"fast": 3})


def test_a_family_is_the_program_without_its_name_and_values() -> None:
    one = {"version": 1, "name": "a", "parameters": {"w": 5, "v": 1}, "target": "w"}
    assert family(one) == family(one | {"name": "b", "parameters": {"v": 3, "w": 9}})
    assert family(one) != family(one | {"target": "v"})
    assert family(one) != family(one | {"parameters": {"w": 5}})
