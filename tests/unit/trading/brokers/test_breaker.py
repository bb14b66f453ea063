"""Whether a broker that fails is called."""

from dataclasses import dataclass, field

import pytest
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

    def call(self, call: Call = Call.ENTRY, who: str = "a", *, fails: bool | None) -> bool:
        """Whether it was made. None: what was answered tells nothing."""
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
    for call in Call:
        free = Admitted(trial=False)
        assert caller.breaker.admit(call, caller.now + 1) == (TRIAL_SECONDS if call.sends else free)
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


def who(number: int) -> str:
    return f"a{number or ''}"


def half_open(accounts: int = 1) -> Caller:
    """None of so many accounts was answered, then the first was."""
    caller = Caller()
    for number in range(max(accounts, FAILURES)):
        caller.call(Call.QUESTION, who(number % accounts), fails=True)
        caller.now += TRIAL_SECONDS
    assert caller.breaker.state.value == State.OPEN.value
    assert caller.call(Call.QUESTION, fails=False)
    assert caller.breaker.state.value == State.HALF_OPEN.value
    return caller


def test_who_only_asks_is_let_through_whole_once_one_was_answered() -> None:
    caller = half_open(accounts=200)
    for _ in range(60):
        assert all(caller.call(Call.QUESTION, who(number), fails=False) for number in range(200))
        caller.now += 1.0
    assert caller.breaker.state.value == State.HALF_OPEN.value


def test_half_open_a_cancel_is_followed_at_once_by_its_question() -> None:
    caller = half_open()
    assert caller.call(Call.CANCEL, fails=False)
    assert caller.call(Call.QUESTION, fails=False)


def test_half_open_orders_come_one_at_a_time_and_stay_so_however_much_is_answered() -> None:
    caller = half_open()
    caller.now += TRIAL_SECONDS
    trial = caller.breaker.admit(Call.EXIT, caller.now)
    assert trial == Admitted(trial=True)
    for _ in range(10 * FAILURES):
        assert caller.call(Call.QUESTION, fails=False)
        assert [caller.breaker.admit(call, caller.now) for call in (Call.ENTRY, Call.EXIT)] == [TRIAL_SECONDS] * 2
        caller.now += 1.0


@pytest.mark.parametrize("call", [Call.QUESTION, Call.CANCEL])
def test_a_question_or_a_cancel_that_fails_half_open_opens_it_again_with_a_longer_pause(call: Call) -> None:
    caller = half_open()
    longer = caller.breaker.admit(Call.ENTRY, caller.now)
    assert longer == TRIAL_SECONDS
    assert caller.call(call, fails=True)
    assert caller.breaker.state.value == State.OPEN.value
    assert caller.breaker.refuses(Call.ENTRY, caller.now) > FIRST_PAUSE_SECONDS


def test_one_of_many_that_still_fails_half_open_takes_the_broker_from_no_other() -> None:
    caller = half_open(accounts=9)
    assert all(caller.call(Call.QUESTION, who(number), fails=False) for number in range(8))
    for _ in range(60):
        assert all(caller.call(Call.QUESTION, who(number), fails=number == 8) for number in range(9))
        caller.now += 1.0
    assert caller.breaker.state.value == State.HALF_OPEN.value


def test_a_broker_that_fails_most_again_is_left_alone_again() -> None:
    caller, made = half_open(accounts=200), 0
    for number in range(200):
        made += caller.call(Call.QUESTION, who(number), fails=True)
    assert (made, caller.breaker.state.value) == (1, State.OPEN.value), "who was not heard since counts as failing"


def test_a_question_from_before_it_opened_says_nothing_half_open() -> None:
    caller = Caller()
    early = caller.breaker.admit(Call.QUESTION, caller.now)
    assert isinstance(early, Admitted)
    caller.opened().call(Call.QUESTION, fails=False)
    caller.breaker.heard(Call.QUESTION, early, "a", caller.now, failed=True)
    assert caller.breaker.state.value == State.HALF_OPEN.value


def test_an_order_that_was_trying_when_a_question_opened_it_again_says_nothing_either() -> None:
    caller = half_open()
    caller.now += TRIAL_SECONDS
    trial = caller.breaker.admit(Call.ENTRY, caller.now)
    assert isinstance(trial, Admitted)
    caller.call(Call.QUESTION, fails=True)
    caller.breaker.heard(Call.ENTRY, trial, "a", caller.now, failed=False)
    assert caller.breaker.state.value == State.OPEN.value
    assert caller.call(Call.QUESTION, fails=False) is False
    caller.now += TRIAL_SECONDS
    assert caller.call(Call.QUESTION, fails=False)


def test_a_cancel_whose_answer_tells_nothing_leaves_it_open_and_the_question_that_follows_free() -> None:
    caller = Caller().opened()
    assert caller.call(Call.CANCEL, fails=None)
    assert caller.breaker.state.value == State.OPEN.value
    assert caller.call(Call.CANCEL, fails=None) is False
    assert caller.call(Call.QUESTION, fails=True)
    assert caller.call(Call.QUESTION, fails=True) is False
    assert caller.breaker.state.value == State.OPEN.value


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
    """Whatever happens in whatever order, a broker that fails sees one call at a time, and one that begins to answer
    one order."""

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
            state = self.breaker.state.value
            assert leave.trial == (state != State.CLOSED.value and (call.sends or state == State.OPEN.value))
            self.under_way.append((call, leave))
        else:
            assert leave == refused > 0.0

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 1_000), fails=st.sampled_from([True, True, False, None]), leaves=st.booleans())
    def end(self, which: int, fails: bool | None, leaves: bool) -> None:
        call, leave = self.under_way.pop(which % len(self.under_way))
        if leaves and fails is None:
            self.breaker.left(leave)
        else:
            self.breaker.heard(call, leave, "a", self.now, failed=fails)

    @invariant()
    def one_trial_at_most(self) -> None:
        assert sum(leave.trial for _, leave in self.under_way) <= 1


TestStampede = Stampede.TestCase
