"""Decides when a broker may be called: how often for one account, and whether at all while it fails. Pure: times are
seconds of one monotonic clock."""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class Call(StrEnum):
    """What a call is for. What takes risk away (`exit`, `cancel`) is never kept waiting by what takes it (`entry`)."""

    ENTRY = "entry"
    EXIT = "exit"
    CANCEL = "cancel"
    QUESTION = "question"

    @property
    def sends(self) -> bool:
        """It may make an order at the broker: without an answer, its fate is unknown."""
        return self in (Call.ENTRY, Call.EXIT)


WINDOW = timedelta(seconds=1.05)
"""What counts as one second: calls that leave a second apart may arrive closer to each other than that."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many calls a broker takes for one account in any second, wherever it begins.

    A bucket of tokens would let twice as many through in a second that follows a pause, and an exchange counts.
    """

    calls: int

    def __post_init__(self) -> None:
        if self.calls < 1:
            raise ValueError(f"a rate of {self.calls} calls a second lets nothing through")

    @property
    def entries(self) -> int:
        """Those that may take risk: a fifth is left to exits and cancels, at least one where there are several."""
        return self.calls - max(self.calls // 5, 1) if self.calls > 1 else 1


class State(StrEnum):
    """`closed`: calls pass. `open`: the broker fails, nothing is sent. `half_open`: it answers, one order at a time may
    try."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


FAILURES = 5
FAILURES_SECONDS = 30.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 30.0
TRIAL_SECONDS = 0.5
"""Between two calls that try a broker which failed: whoever else comes asks again after it."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The call may be made. `trial`: it tries a broker that failed, and no other does meanwhile. `opened`: how often
    the breaker had opened by then."""

    trial: bool
    opened: int = field(default=0, compare=False)


class Breaker:
    """Whether a broker answers, from what became of the calls to it.

    It opens at `FAILURES` failures in `FAILURES_SECONDS`, if most of those who called lately met one: an account whose
    own connection is broken takes the broker from no other. While it is open, cancels and questions try it, one at a
    time; an order does when nobody has until the pause is over. Each success leads one step back: open, half open,
    closed; a failure on the way makes the pause twice as long.

    Half open, orders try one at a time and the rest passes: who sends no orders would never close it. One failure of
    the rest opens it again if most of those who called lately met one, as all did in an outage: the more were answered
    since, the more it takes. Calls that were under way when it opened say nothing new.
    """

    def __init__(self) -> None:
        self.state = State.CLOSED
        self._opened = 0
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._last: dict[Hashable, tuple[float, bool]] = {}
        self._until = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._trying = False
        self._next_trial = 0.0
        self._untold = False

    def admit(self, call: Call, now: float) -> Admitted | float:
        """Leave to call, after which `heard` or `left` must follow; else the seconds until it may ask again."""
        if wait := self.refuses(call, now):
            return wait
        if self._passes(call):
            return Admitted(False, self._opened)
        self._trying, self._next_trial, self._untold = True, now + TRIAL_SECONDS, False
        return Admitted(True, self._opened)

    def refuses(self, call: Call, now: float) -> float:
        """The seconds that `admit` would say, 0.0 for leave; nothing changes."""
        if self._passes(call):
            return 0.0
        if self._trying:
            return TRIAL_SECONDS
        paused = self._until if self.state is State.OPEN and call.sends else 0.0
        rested = 0.0 if self._untold and call is Call.QUESTION else self._next_trial
        return max(paused - now, rested - now, 0.0)

    def _passes(self, call: Call) -> bool:
        return self.state is State.CLOSED or (self.state is State.HALF_OPEN and not call.sends)

    def left(self, leave: Admitted) -> None:
        """The call was given up by who made it, and told nothing."""
        if leave.trial:
            self._trying = False

    def heard(self, call: Call, leave: Admitted, who: Hashable, now: float, *, failed: bool | None) -> None:
        """What became of a call for `who`. None: nobody can tell from its answer, so the question that follows need
        not rest before it tries."""
        self.left(leave)
        if leave.opened != self._opened:
            return
        if failed is None:
            self._untold = leave.trial
            return
        self._last[who] = (now, failed)
        if leave.trial:
            self._tried(call, now, failed=failed)
        elif failed:
            self._failed(now)

    def _tried(self, call: Call, now: float, *, failed: bool) -> None:
        if failed:
            self._open_longer(now)
        elif call.sends:
            self.state, self._pause = State.CLOSED, FIRST_PAUSE_SECONDS
        else:
            self.state = State.HALF_OPEN

    def _failed(self, now: float) -> None:
        self._failures.append(now)
        if not self._most_fail(now):
            return
        if self.state is State.HALF_OPEN:
            self._open_longer(now)
        elif len(self._failures) == FAILURES and now - self._failures[0] < FAILURES_SECONDS:
            self._open(now)

    def _most_fail(self, now: float) -> bool:
        self._last = {who: last for who, last in self._last.items() if now - last[0] < FAILURES_SECONDS}
        return 2 * sum(failed for _, failed in self._last.values()) > len(self._last)

    def _open_longer(self, now: float) -> None:
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._open(now)

    def _open(self, now: float) -> None:
        self.state, self._until = State.OPEN, now + self._pause
        self._opened += 1
        self._failures.clear()
