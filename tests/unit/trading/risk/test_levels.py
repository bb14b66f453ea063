"""Limits of several levels: each may only tighten, the tightest holds, and a figure says who gave it."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from app.trading.risk.domain import Rule, Tighter, applied, loosened, same, tightest
from app.trading.risk.service import rules

LEVELS = ("platform", "tenant", "client", "account", "deployment")
IDS = [f"ins_{number:026d}" for number in range(4)]
_money = st.integers(0, 10_000).map(lambda minor: f"{minor // 100}.{minor % 100:02d}")
VALUES: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    ("restricted_list", "instruments"): st.lists(st.sampled_from(IDS), max_size=4),
    ("permissions", "products"): st.none() | st.lists(st.sampled_from(["delivery", "intraday"]), max_size=2),
    ("permissions", "segments"): st.none() | st.lists(st.sampled_from(["EQ", "FO", "CD"]), max_size=3),
    ("market_hours", "open_only"): st.booleans(),
    ("self_trade", "prevent"): st.booleans(),
    ("short_sale", "forbid_intraday"): st.booleans(),
    ("order_to_trade", "limit"): st.none() | st.integers(1, 100),
    ("duplicate_order", "within_s"): st.none() | st.integers(1, 300),
    ("max_open_orders", "limit"): st.integers(0, 100),
    ("order_to_trade", "after"): st.integers(0, 100),
    ("price_collar", "limit_bps"): st.integers(0, 100),
}
RULES = [rule for rule in rules().values() if rule.tighter]


def values(rule: Rule, name: str) -> st.SearchStrategy[Any]:
    found = VALUES.get((rule.name, name))
    if found is None:
        number = name.endswith(("_bps", "_s")) or name.startswith("per_")
        found = st.integers(0, 100) if number else _money
        if rule.Parameters.model_fields[name].default is None:
            found |= st.none()
    return found


def parameters(rule: Rule) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: values(rule, name) for name in rule.tighter})


def allows(how: str, value: Any, by: Any) -> bool:
    """Whether what `value` allows, `by` allows, too: written here a second time, plainly."""
    if by is None:
        return True
    if value is None:
        return False
    match Tighter(how):
        case Tighter.LOWER:
            return Decimal(value) <= Decimal(by)
        case Tighter.HIGHER:
            return Decimal(value) >= Decimal(by)
        case Tighter.ALL:
            return set(value) >= set(by)
        case Tighter.COMMON:
            return set(value) <= set(by)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_says_of_each_parameter_how_levels_combine(rule: Rule) -> None:
    assert set(rule.tighter) == set(rule.Parameters.model_fields)


@given(st.data())
def test_what_holds_is_never_looser_than_any_level(data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(RULES))
    stated = {level: data.draw(parameters(rule)) for level in data.draw(st.sets(st.sampled_from(LEVELS), min_size=1))}
    sets = [(level, stated[level]) for level in LEVELS if level in stated]
    found = applied(rule, sets)
    assert found.parameters is not None and found.source in stated
    for _, said in sets:
        one = rule.Parameters.model_validate(said)
        for name, how in rule.tighter.items():
            assert allows(how, getattr(found.parameters, name), getattr(one, name)), name


@given(st.data())
def test_levels_combine_alike_in_any_order_and_as_often_as_one_likes(data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(RULES))
    one, two, three = (rule.Parameters.model_validate(data.draw(parameters(rule))) for _ in range(3))

    def both(first: BaseModel, second: BaseModel) -> BaseModel:
        return tightest(rule, first, second)

    assert same(both(one, two), both(two, one))
    assert same(both(one, both(two, three)), both(both(one, two), three))
    assert same(both(one, one), one)


@given(st.data())
def test_a_level_is_refused_just_when_it_states_something_looser(data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(RULES))
    parent, child = (rule.Parameters.model_validate(data.draw(parameters(rule))) for _ in range(2))
    looser = [
        name
        for name, how in rule.tighter.items()
        if name in child.model_fields_set
        and how != Tighter.ALL
        and not allows(how, getattr(child, name), getattr(parent, name))
    ]
    found = loosened(rule, parent, child)
    assert (found is None) == (not looser)
    assert found is None or found.parameter in looser


def test_the_source_is_the_innermost_level_that_tightened_something() -> None:
    rule = rules()["max_order_value"]
    assert applied(rule, ()).source == "default"
    sets: list[tuple[str, dict[str, Any]]] = [("tenant", {"limit": "100"}), ("account", {"limit": "100.00"})]
    assert applied(rule, sets).source == "tenant"
    found = applied(rule, [*sets, ("deployment", {"limit": "99"})], level="account")
    assert (found.source, found.own, found.parameters) == (
        "deployment",
        {"limit": "100.00"},
        rule.Parameters.model_validate({"limit": "99"}),
    )


def test_a_parent_that_tightens_later_goes_before_the_childs_own() -> None:
    rule = rules()["max_open_orders"]
    found = applied(rule, [("tenant", {"limit": 3}), ("account", {"limit": 5})], level="account")
    assert (found.parameters, found.source, found.own) == (rule.Parameters(limit=3), "tenant", {"limit": 5})


def test_one_level_that_cannot_be_read_stops_new_risk_whatever_the_others_say() -> None:
    found = applied(rules()["max_open_orders"], [("tenant", {"limit": "many"}), ("account", {"limit": 5})])
    assert (found.parameters, found.source) == (None, "tenant")
