"""The one table of allowed transitions of an order's life."""

from app.kernel.orders import OrderStatus

S = OrderStatus
_LATE = frozenset({S.OPEN, S.PARTIALLY_FILLED, S.FILLED})  # the broker has it after all: what it says is a fact
TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
    S.ACCEPTED: frozenset({S.SUBMITTING, S.CANCELLED, S.EXPIRED}),  # one that waits with us may run out of time there
    S.SUBMITTING: frozenset(
        {
            S.ACCEPTED,  # the broker did not look at it: it waits again
            S.OPEN,
            S.PARTIALLY_FILLED,
            S.FILLED,
            S.CANCELLED,
            S.REJECTED,
            S.EXPIRED,
            S.UNKNOWN,
        }
    ),
    S.UNKNOWN: frozenset({S.OPEN, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED, S.LOST}),
    S.OPEN: frozenset({S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED, S.UNKNOWN}),
    S.PARTIALLY_FILLED: frozenset({S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED, S.UNKNOWN}),
    S.LOST: frozenset({S.OPEN, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED}),
    S.DENIED: frozenset(),
    S.FILLED: frozenset(),
    S.CANCELLED: _LATE,
    S.REJECTED: _LATE,
    S.EXPIRED: _LATE,
}
"""From each status, the ones that may follow. Nothing else ever happens to an order."""


def sources(target: OrderStatus) -> list[str]:
    """The statuses from which an order may become `target`."""
    return [status.value for status, following in TRANSITIONS.items() if target in following]
