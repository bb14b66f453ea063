"""From the target's column to what is asked of the account: per slot a weight and a flag for every row.

Three rules say when a slot is traded: where its weight changes, at the first bar of a month, where a condition holds.
"""

import numpy as np

from app.engine.kernels.book import Machine, Market
from app.engine.kernels.integers import month_of
from app.engine.kernels.jit import inlined, kernel
from app.engine.kernels.machine import alike
from app.engine.kernels.windows import whole
from app.engine.layout import WEIGHT, Flag, Signal

KNOWN, LAST, LAST_MONTH = int(Signal.KNOWN), int(Signal.WEIGHT), int(Signal.MONTH)
UNKNOWN, HOLD, REBALANCE = int(Flag.UNKNOWN), int(Flag.HOLD), int(Flag.REBALANCE)
WEIGHT_SCALE = WEIGHT
AT_CHANGE, BY_MONTH = -1, -2  # a rule, as `Program.rule` numbers them
PURSUED = 2  # of `KNOWN`: a weight was asked for


@inlined
def weight_of(value: float, least: float) -> int:
    """At `WEIGHT`, clipped to least…1."""
    return int(np.floor(min(max(value, least), 1.0) * WEIGHT_SCALE + 0.5))


@kernel
def on_change(
    given: np.ndarray, given_ok: np.ndarray, own: np.ndarray, weights: np.ndarray, flags: np.ndarray, least: float
) -> None:
    """Rebalance where the weight differs from the last known one; the first known one trades nothing."""
    rows, at = given.shape[0], 0
    full = whole(given_ok, 0)
    while at < rows and (not full or at == 0):
        flags[at] = UNKNOWN
        if given_ok[at] == 1:
            weight = weight_of(given[at], least)
            flags[at] = REBALANCE if own[KNOWN] != 0 and weight != own[LAST] else HOLD
            own[KNOWN], own[LAST] = 1, weight
        weights[at] = own[LAST]
        at += 1
    if at < rows:
        now, before, values, said = weights[at:], weights[at - 1 :], given[at:], flags[at:]
        for i in range(values.shape[0]):
            now[i] = weight_of(values[i], least)
        for i in range(said.shape[0]):
            said[i] = REBALANCE if now[i] != before[i] else HOLD
        own[LAST] = weights[rows - 1]


@kernel
def places_of(holds: np.ndarray, places: np.ndarray) -> int:
    """Where a condition is not 0, into `places`; how many there are."""
    count = 0
    for i in range(holds.shape[0]):
        places[count] = i
        count += 1 if holds[i] != 0.0 else 0
    return count


@inlined
def pursue(state: int, weight: int, valid: np.ndarray, weights: np.ndarray, flags: np.ndarray) -> None:
    """Ask for the same weight on every bar, once one was asked for."""
    for i in range(weights.shape[0]):
        weights[i] = weight
    pursued = HOLD if state == PURSUED else UNKNOWN
    for i in range(flags.shape[0]):
        flags[i] = pursued * valid[i]


@kernel
def by_rule(
    given: np.ndarray, given_ok: np.ndarray, dense: bool, holds: np.ndarray, holds_ok: np.ndarray, places: np.ndarray,
    first: int, valid: np.ndarray, own: np.ndarray, weights: np.ndarray, flags: np.ndarray, least: float,
) -> None:  # fmt: skip
    """Rebalance where a condition holds, and pursue that weight until it holds again. `places`, less `first`: where it
    may hold. `given` has a value for each row, or (not `dense`) for each place."""
    state, weight, done = own[KNOWN], own[LAST], 0
    for index in range(places.shape[0]):
        at = places[index] - first
        source = at if dense else index
        if holds[at] == 0.0 or holds_ok[at] == 0 or given_ok[source] == 0:
            continue
        pursue(state, weight, valid[done:at], weights[done:at], flags[done:at])
        state, weight = PURSUED, weight_of(given[source], least)
        weights[at], flags[at], done = weight, REBALANCE, at + 1
    pursue(state, weight, valid[done:], weights[done:], flags[done:])
    own[KNOWN], own[LAST] = state, weight


@kernel
def monthly(
    given: np.ndarray, given_ok: np.ndarray, days: np.ndarray, valid: np.ndarray,
    own: np.ndarray, weights: np.ndarray, flags: np.ndarray, least: float,
) -> None:  # fmt: skip
    """As `by_rule`, at the first known bar of a month after one of another month."""
    for i in range(given.shape[0]):
        flags[i] = HOLD if own[KNOWN] == PURSUED and valid[i] == 1 else UNKNOWN
        if given_ok[i] == 1:
            month = month_of(days[i])
            if own[KNOWN] != 0 and own[LAST_MONTH] != month:
                own[KNOWN], own[LAST] = PURSUED, weight_of(given[i], least)
                flags[i] = REBALANCE
            own[KNOWN], own[LAST_MONTH] = max(own[KNOWN], 1), month
        weights[i] = own[LAST]


@kernel
def signals(
    machine: Machine,
    market: Market,
    weights: np.ndarray,
    flags: np.ndarray,
    target: int,
    rule: int,
    gate: int,
    least: int,
    start: int,
    end: int,
    base: int,
) -> int:
    """Turn the target column into weights (scale `WEIGHT`, clipped to least…1) and flags, at places row − base of the
    (slots, rows) outputs.

    A `rule` that is not negative is a condition's register; where it is the `gate` of the run of these rows, the target
    has values only at the places that were asked for.
    """
    first, last, asked = start - base, end - base, machine.asked
    before, until = 0, 0
    if gate >= 0:
        until = asked[0]
        while before < until and asked[1 + before] < first:
            before += 1
    for slot in range(machine.signal.shape[0]):
        own, valid = machine.signal[slot], market.valid[slot, start:end]
        given, known = machine.columns[slot, target, first:last], machine.known[slot, target, first:last]
        pursued, said = weights[slot, first:last], flags[slot, first:last]
        if rule == AT_CHANGE:
            on_change(given, known, own, pursued, said, float(least))
        elif rule == BY_MONTH:
            monthly(given, known, market.days[start:end], valid, own, pursued, said, float(least))
        else:
            deciding = 0 if alike(machine, market, rule, start, end) else slot
            holds, holds_known = machine.columns[deciding, rule, first:last], machine.known[deciding, rule, first:last]
            if gate >= 0:
                given, known = machine.columns[slot, target, before:until], machine.known[slot, target, before:until]
                places, origin = asked[1 + before : 1 + until], first
            else:
                count = places_of(holds, asked)
                places, origin = asked[:count], 0
            by_rule(given, known, gate < 0, holds, holds_known, places, origin, valid, own, pursued, said, float(least))
    return 0
