"""Decides how history is cut for walk-forward tests: train on the past, judge on what follows, and move on.

A fold trains on periods before its test and is judged on the test alone. `purge` periods before a test are left out of
its training, because what was decided in them is still open when the test begins; `embargo` leaves out further ones,
because neighbouring periods resemble each other. López de Prado (Advances in Financial Machine Learning, 2018, §7.4)
sets the embargo after a test, for folds that also train on what follows it; here training never does, so that the
embargo widens the gap before the test instead.
"""

from dataclasses import dataclass

from app.kernel.errors import invalid

MAX_FOLDS = 1_000


@dataclass(frozen=True, slots=True)
class Fold:
    """Periods [train_start, train_end) to learn from and [test_start, test_end) to be judged on."""

    train_start: int
    train_end: int
    test_start: int
    test_end: int


def walk_forward(
    periods: int, *, train: int, test: int, purge: int = 0, embargo: int = 0, anchored: bool = False
) -> list[Fold]:
    """The folds of `periods`, in order. Tests tile [train + purge + embargo, periods); the last one may be shorter.

    `train` periods are learnt from: the last before the gap, or (`anchored`) at least so many, from the first on.
    Raises `invalid_folds` naming the argument.
    """
    for name, value, least in (("train", train, 2), ("test", test, 1), ("purge", purge, 0), ("embargo", embargo, 0)):
        if value < least:
            raise invalid("invalid_folds", f"{name} must be at least {least}.", param=name)
    gap = purge + embargo
    if train + gap >= periods:
        reason = f"train, purge and embargo take {train + gap} of {periods} periods; nothing is left to test."
        raise invalid("invalid_folds", reason, param="train")
    starts = range(train + gap, periods, test)
    if len(starts) > MAX_FOLDS:
        raise invalid("invalid_folds", f"{len(starts):,} folds; at most {MAX_FOLDS:,}. Test longer.", param="test")
    return [
        Fold(0 if anchored else start - gap - train, start - gap, start, min(start + test, periods)) for start in starts
    ]
