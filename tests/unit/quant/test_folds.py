"""Walk-forward folds: what they may never do, for any lengths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.errors import DomainError
from app.quant.folds import Fold, walk_forward

LENGTHS = {
    "periods": st.integers(1, 400),
    "train": st.integers(2, 150),
    "test": st.integers(1, 80),
    "purge": st.integers(0, 20),
    "embargo": st.integers(0, 20),
    "anchored": st.booleans(),
}


@given(**LENGTHS)
def test_no_period_is_learnt_from_within_the_gap_before_a_test_or_after_it(
    periods: int, train: int, test: int, purge: int, embargo: int, anchored: bool
) -> None:
    options = {"train": train, "test": test, "purge": purge, "embargo": embargo}
    if train + purge + embargo >= periods:
        with pytest.raises(DomainError, match="nothing is left") as refused:
            walk_forward(periods, anchored=anchored, **options)
        assert refused.value.param == "train"
        return
    folds = walk_forward(periods, anchored=anchored, **options)
    tested = [period for fold in folds for period in range(fold.test_start, fold.test_end)]
    assert tested == list(range(train + purge + embargo, periods))
    for fold in folds:
        learnt = range(fold.train_start, fold.train_end)
        assert learnt[-1] + purge + embargo < fold.test_start
        assert len(learnt) == (fold.train_end if anchored else train) >= train
        assert fold.train_start >= 0


def test_rolling_and_anchored_folds() -> None:
    rolling = walk_forward(10, train=4, test=3, purge=1)
    assert rolling == [Fold(0, 4, 5, 8), Fold(3, 7, 8, 10)]
    assert walk_forward(10, train=4, test=3, purge=1, anchored=True) == [Fold(0, 4, 5, 8), Fold(0, 7, 8, 10)]


@pytest.mark.parametrize(
    ("changes", "param"),
    [({"train": 1}, "train"), ({"test": 0}, "test"), ({"purge": -1}, "purge"), ({"embargo": -1}, "embargo")],
)
def test_a_length_out_of_range_is_named(changes: dict[str, int], param: str) -> None:
    with pytest.raises(DomainError, match="at least") as refused:
        walk_forward(100, **{"train": 10, "test": 5, "purge": 0, "embargo": 0} | changes, anchored=False)
    assert (refused.value.code, refused.value.param) == ("invalid_folds", param)


def test_too_many_folds_are_refused() -> None:
    with pytest.raises(DomainError, match="Test longer"):
        walk_forward(5000, train=10, test=1)
