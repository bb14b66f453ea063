"""Into which orders a quantity is cut: what sums to it, in lots, none above the freeze quantity."""

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.errors import DomainError
from app.kernel.instrument import TradingRules
from app.kernel.orders import Leg, OrderClass, OrderType
from app.trading.orders.domain import PlaceOrder
from app.trading.orders.domain.grouping import check_change, check_change_of_whole, check_slices, cut_anew, slices_of
from tests.unit.trading.orders.test_decide import BUY


@given(lot=st.integers(1, 100), lots=st.integers(1, 5_000), freeze_lots=st.integers(1, 900), more=st.integers(0, 99))
def test_a_quantity_above_the_freeze_quantity_becomes_lots_that_sum_to_it(
    lot: int, lots: int, freeze_lots: int, more: int
) -> None:
    freeze = freeze_lots * lot + more % lot  # need not be a multiple of the lot
    parts = slices_of(OrderClass.SINGLE, lots * lot, None, TradingRules(1, lot, freeze))
    assert sum(parts) == lots * lot
    assert all(0 < part <= freeze and part % lot == 0 for part in parts)
    assert len(parts) == -(-lots // freeze_lots)


@given(lot=st.integers(1, 100), slices=st.integers(2, 50), more=st.integers(0, 5_000))
def test_an_iceberg_has_as_many_slices_as_were_asked_for_and_they_differ_by_a_lot_at_most(
    lot: int, slices: int, more: int
) -> None:
    quantity = (slices + more) * lot
    parts = slices_of(OrderClass.ICEBERG, quantity, slices, TradingRules(1, lot, None))
    assert (len(parts), sum(parts)) == (slices, quantity)
    assert all(part % lot == 0 for part in parts)
    assert 0 <= max(parts) - min(parts) <= lot


@given(lots=st.integers(1, 500), lot=st.integers(1, 20), shown=st.integers(1, 500), freeze=st.integers(20, 900))
def test_no_part_is_larger_than_what_may_be_shown_or_than_the_freeze_quantity(
    lots: int, lot: int, shown: int, freeze: int
) -> None:
    parts = slices_of(OrderClass.SINGLE, lots * lot, None, TradingRules(1, lot, freeze), shown=shown * lot)
    assert sum(parts) == lots * lot
    assert all(0 < part <= min(freeze, shown * lot) and part % lot == 0 for part in parts)


def test_without_a_freeze_quantity_or_below_it_an_order_is_one() -> None:
    assert slices_of(OrderClass.SINGLE, 1_000, None, TradingRules(1, 1, None)) == (1_000,)
    assert slices_of(OrderClass.SINGLE, 18, None, TradingRules(1, 1, 18)) == (18,)


def test_a_slice_cannot_be_changed_by_itself() -> None:
    with pytest.raises(DomainError, match="slice") as caught:
        check_change(Leg.SLICE, None)
    assert caught.value.code == "order_not_changeable"


def test_what_is_sent_in_parts_is_changed_but_for_pairs_and_a_group_does_not_grow() -> None:
    for order_class in (OrderClass.SLICED, OrderClass.ICEBERG):
        check_change_of_whole(order_class, grows=True)
    for order_class in (OrderClass.BRACKET, OrderClass.OTO, OrderClass.COVER):
        check_change_of_whole(order_class, grows=False)
        with pytest.raises(DomainError) as caught:
            check_change_of_whole(order_class, grows=True)
        assert (caught.value.code, caught.value.param) == ("order_not_changeable", "quantity")
    with pytest.raises(DomainError) as caught:
        check_change_of_whole(OrderClass.OCO, grows=False)
    assert (caught.value.code, caught.value.param) == ("order_not_changeable", None)


@given(
    left=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    lot=st.integers(1, 5),
    wanted=st.integers(1, 100),
    freeze=st.integers(10, 20) | st.none(),
    shown=st.integers(5, 9) | st.none(),
)
def test_another_quantity_is_taken_from_the_last_slices_or_sent_in_new_ones(
    left: list[int], lot: int, wanted: int, freeze: int | None, shown: int | None
) -> None:
    works, rules = [one * lot for one in left], TradingRules(1, lot, freeze and freeze * lot)
    bound = shown and shown * lot
    kept, more = cut_anew(works, wanted * lot, OrderClass.ICEBERG, rules, shown=bound)
    assert sum(kept) + sum(more) == wanted * lot
    assert all(0 <= one <= was and one % lot == 0 for one, was in zip(kept, works, strict=True))
    assert not more or kept == works
    cut = [place for place, (one, was) in enumerate(zip(kept, works, strict=True)) if one < was]
    assert cut == list(range(len(works)))[-len(cut) or len(works) :]
    assert all(kept[place] == 0 for place in cut[1:])  # at most one of them goes on with less
    assert all(0 < one <= min(bound or one, rules.freeze_quantity or one) and one % lot == 0 for one in more)


def test_more_slices_at_once_than_an_order_is_cut_into_are_refused() -> None:
    assert cut_anew([15] * 9, 150, OrderClass.SLICED, TradingRules(1, 5, 15), shown=None) == ([15] * 9, (15,))
    with pytest.raises(DomainError) as caught:
        cut_anew([15] * 9, 155, OrderClass.SLICED, TradingRules(1, 5, 15), shown=None)
    assert (caught.value.code, caught.value.param) == ("above_freeze", "quantity")


HUGE = 10**15


def _refused(command: PlaceOrder) -> tuple[str, str | None]:
    with pytest.raises(DomainError) as caught:
        check_slices(command, TradingRules(1, 1, 1_800), qty_exp=0)
    return caught.value.code, caught.value.param


@pytest.mark.parametrize("shown", [None, 1])
def test_a_quantity_of_too_many_slices_is_refused_before_any_is_made(shown: int | None) -> None:
    tracemalloc.start()
    try:
        assert _refused(replace(BUY, quantity=HUGE, disclosed_quantity=shown)) == ("above_freeze", "quantity")
        with pytest.raises(DomainError) as caught:
            cut_anew([10, 10], HUGE, OrderClass.ICEBERG, TradingRules(1, 1, None if shown else 1_800), shown=shown)
        assert (caught.value.code, caught.value.param) == ("above_freeze", "quantity")
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("changes", "most"), [({}, 10), ({"order_type": OrderType.LIMIT, "disclosed_quantity": 1_800}, 50)]
)
def test_as_many_slices_as_are_allowed_pass_and_one_more_does_not(changes: dict[str, Any], most: int) -> None:
    order = replace(BUY, quantity=most * 1_800, **changes)
    check_slices(order, TradingRules(1, 1, 1_800), qty_exp=0)
    assert _refused(replace(order, quantity=most * 1_800 + 1)) == ("above_freeze", "quantity")


def test_slices_of_an_iceberg_and_lots_that_are_above_the_freeze_quantity_are_told_apart_from_too_many() -> None:
    iceberg = replace(BUY, quantity=HUGE, order_class=OrderClass.ICEBERG, slices=50)
    assert _refused(iceberg) == ("above_freeze", "slices")
    with pytest.raises(DomainError) as caught:
        check_slices(replace(BUY, quantity=HUGE), TradingRules(1, 1_000, 999), qty_exp=0)
    assert (caught.value.code, caught.value.param) == ("above_freeze", "slices")


@pytest.mark.parametrize("leg", [Leg.TARGET, Leg.STOP])
def test_of_an_exit_only_the_prices_can_be_changed(leg: Leg) -> None:
    check_change(leg, None)
    with pytest.raises(DomainError) as caught:
        check_change(leg, 5)
    assert (caught.value.code, caught.value.param) == ("order_not_changeable", "quantity")


def test_entries_and_single_orders_can_be_changed() -> None:
    check_change(Leg.ENTRY, 5)
    with pytest.raises(DomainError):
        check_change(Leg.ENTRY, 5, has_parent=True)  # a slice of a whole
    check_change(None, 5)
