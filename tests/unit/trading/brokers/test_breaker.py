"""Whether a broker that fails is called."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.trading.brokers.domain import (
    FAILURES,
    FAILURES_SECONDS,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    TRIAL_SECONDS,
    Admitted,
    Breaker,
    Call,
    State,
)


@dataclass
class Caller:
    """A breaker and a clock."""

    breaker: Breaker = field(default_factory=Breaker)
    now: float = 100.0

    def call(self, call: Call = Call.ENTRY, who: str = "a", *, fails: bool) -> bool:
        """Whether it was made."""
        leave = self.breaker.admit(call, self.now)
        if not isinstance(leave, Admitted):
            return False
        self.breaker.heard(call, leave, who, self.now, failed=fails)
        return True

    def opened(self) -> "Caller":
        for _ in range(FAILURES):
            assert self.call(fails=True)
        assert self.breaker.state.value == State.OPEN.value
        return self


def test_it_opens_at_the_last_of_so_many_failures() -> None:
    caller = Caller()
    for _ in range(FAILURES - 1):
        caller.call(fails=True)
    assert caller.breaker.state.value == State.CLOSED.value
    caller.call(fails=True)
    assert caller.breaker.state.value == State.OPEN.value


def test_failures_far_apart_open_nothing() -> None:
    caller = Caller()
    for _ in range(3 * FAILURES):
        caller.call(fails=True)
        caller.now += FAILURES_SECONDS / (FAILURES - 1)
    assert caller.breaker.state.value == State.CLOSED.value


def test_one_account_that_fails_takes_the_broker_from_no_other() -> None:
    caller = Caller()
    for _ in range(10 * FAILURES):
        caller.call(who="well", fails=False)
        caller.call(who="broken", fails=True)
    assert caller.breaker.state.value == State.CLOSED.value
    caller.call(who="well", fails=True)
    assert caller.breaker.state.value == State.OPEN.value


def test_open_it_sends_no_order_before_its_pause_is_over_and_then_one() -> None:
    caller = Caller().opened()
    for call in (Call.ENTRY, Call.EXIT):
        assert caller.breaker.admit(call, caller.now) == FIRST_PAUSE_SECONDS
    caller.now += FIRST_PAUSE_SECONDS
    first = caller.breaker.admit(Call.ENTRY, caller.now)
    assert first == Admitted(trial=True)
    assert caller.breaker.admit(Call.EXIT, caller.now + 60) == TRIAL_SECONDS


def test_cancels_and_questions_try_an_open_one_at_once_and_one_at_a_time() -> None:
    caller = Caller().opened()
    leave = caller.breaker.admit(Call.CANCEL, caller.now)
    assert isinstance(leave, Admitted)
    assert caller.breaker.admit(Call.QUESTION, caller.now) == TRIAL_SECONDS
    caller.breaker.left(leave)
    assert caller.breaker.admit(Call.QUESTION, caller.now) == TRIAL_SECONDS, "nor one right after the other"
    assert isinstance(caller.breaker.admit(Call.QUESTION, caller.now + TRIAL_SECONDS), Admitted)


def test_an_answered_question_lets_one_order_try_and_its_success_lets_all() -> None:
    caller = Caller().opened()
    caller.call(Call.QUESTION, fails=False)
    assert caller.breaker.state.value == State.HALF_OPEN.value
    caller.now += TRIAL_SECONDS
    trial = caller.breaker.admit(Call.ENTRY, caller.now)
    assert isinstance(trial, Admitted)
    assert [caller.breaker.admit(call, caller.now + 1) for call in Call] == [TRIAL_SECONDS] * 4
    caller.breaker.heard(Call.ENTRY, trial, "a", caller.now + 1, failed=False)
    assert caller.breaker.state.value == State.CLOSED.value
    assert all(caller.call(call, fails=False) for call in Call)


def test_a_trial_that_fails_makes_the_pause_twice_as_long_up_to_an_end() -> None:
    caller, pauses = Caller().opened(), []
    for _ in range(8):
        pause = caller.breaker.admit(Call.ENTRY, caller.now)
        assert isinstance(pause, float)
        pauses.append(round(pause, 6))
        caller.now += pause
        assert caller.call(fails=True)
    assert pauses == [2, 4, 8, 16, 30, 30, 30, 30]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_what_was_under_way_when_it_opened_says_nothing_new() -> None:
    caller = Caller()
    early = [caller.breaker.admit(Call.ENTRY, caller.now) for _ in range(4)]
    caller.opened()
    for number, leave in enumerate(early):
        assert isinstance(leave, Admitted)
        caller.breaker.heard(Call.ENTRY, leave, "a", caller.now + 1, failed=number % 2 == 0)
    assert caller.breaker.admit(Call.ENTRY, caller.now) == FIRST_PAUSE_SECONDS


@given(st.lists(st.booleans(), max_size=60))
def test_a_broker_that_answers_again_is_soon_called_as_before(history: list[bool]) -> None:
    caller = Caller()
    for fails in history:
        caller.call(fails=fails)
        caller.now += 1.0
    for _ in range(3):
        caller.now += LONGEST_PAUSE_SECONDS
        assert caller.call(fails=False)
    assert caller.breaker.state.value == State.CLOSED.value


class Stampede(RuleBasedStateMachine):
    """Whatever happens in whatever order, a broker that fails sees one call at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now = Breaker(), 0.0
        self.under_way: list[tuple[Call, Admitted]] = []

    @rule(call=st.sampled_from(list(Call)), gap=st.floats(0, 5))
    def ask(self, call: Call, gap: float) -> None:
        self.now += gap
        refused = self.breaker.refuses(call, self.now)
        leave = self.breaker.admit(call, self.now)
        if isinstance(leave, Admitted):
            assert refused == 0.0
            self.under_way.append((call, leave))
        else:
            assert leave == refused > 0.0

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 1_000), fails=st.sampled_from([True, True, False, None]))
    def end(self, which: int, fails: bool | None) -> None:
        call, leave = self.under_way.pop(which % len(self.under_way))
        if fails is None:
            self.breaker.left(leave)
        else:
            self.breaker.heard(call, leave, "a", self.now, failed=fails)

    @invariant()
    def one_trial_at_most(self) -> None:
        assert sum(leave.trial for _, leave in self.under_way) <= 1


TestStampede = Stampede.TestCase
