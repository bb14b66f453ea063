"""Decides what a payment may become, when a withdrawal takes two people, and what a provider's news means.

The provider is believed about what happened and never about whose money it is: a payment that is not exactly the one
that was asked for goes to suspense, with a break that somebody resolves.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from app.kernel.errors import invalid
from app.kernel.events import DecimalText, EventPayload, EventType
from app.kernel.money import Money, currency_exponent, format_scaled

APPROVAL_ABOVE = {"INR": 100_000_00, "USD": 1_000_00}
"""Withdrawals beyond this take a second person; of a currency without a figure, all do."""

OVERDUE = timedelta(hours=24)
"""A payment that its provider has not finished by then gets a break; it is asked about further."""

MAX_MINOR = 10**13


class Direction(StrEnum):
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"


class Status(StrEnum):
    """`sent`: the provider may have it, whether or not it answered: it is asked, and told again only when it says that
    it knows nothing of it."""

    PENDING = "pending"
    SENT = "sent"
    COMPLETED = "completed"
    FAILED = "failed"
    DISPUTED = "disputed"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.DISPUTED})


class Meaning(StrEnum):
    """What news asks for."""

    NOTHING = "nothing"  # known already, or not finished
    COMPLETE = "complete"
    FAIL = "fail"
    SUSPEND = "suspend"  # the money goes to suspense, with a break


@dataclass(frozen=True, slots=True)
class News:
    """What the provider says of a payment: not `final`, or paid in `amount`, or not paid for `reason`."""

    reference: str
    amount: Money
    final: bool
    paid: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A payment as it is stored."""

    direction: Direction
    status: Status
    amount: Money
    reference: str | None


def meaning_of(news: News, known: Known) -> Meaning:
    """What the provider's news means for a payment that it names."""
    if not news.final:
        return Meaning.NOTHING
    if not news.paid:
        return Meaning.NOTHING if known.status in FINAL else Meaning.FAIL
    if known.status in FINAL:
        said_before = known.status is not Status.FAILED and news.reference == known.reference
        return Meaning.NOTHING if said_before else Meaning.SUSPEND
    if known.direction is Direction.DEPOSIT and news.amount != known.amount:
        return Meaning.SUSPEND
    return Meaning.COMPLETE


def needs_approval(amount: Money) -> bool:
    """Whether a withdrawal takes two people."""
    return amount.minor > APPROVAL_ABOVE.get(amount.currency, 0)


def check_amount(amount: Money) -> None:
    """Raises `invalid_amount`."""
    if not 0 < amount.minor <= MAX_MINOR:
        most = format_scaled(MAX_MINOR, currency_exponent(amount.currency))
        raise invalid("invalid_amount", f"The amount must be above 0 and at most {most}.", param="amount")


class PaymentCreated(EventPayload):
    amount: DecimalText = Field(description="What was asked for, in the account's currency.")


class PaymentEnded(EventPayload):
    amount: DecimalText = Field(description="What was asked for, in the account's currency.")
    reason: str | None = Field(default=None, description="Why not, if it failed or is disputed.")


EVENTS = (
    EventType("deposit.created", "dps", "A deposit was asked for.", PaymentCreated),
    EventType("deposit.completed", "dps", "A deposit is in the account.", PaymentEnded),
    EventType("deposit.failed", "dps", "A deposit will not come.", PaymentEnded),
    EventType("deposit.disputed", "dps", "What came is not what was asked for: it waits in suspense.", PaymentEnded),
    EventType("withdrawal.created", "wdr", "A withdrawal was asked for; its amount is held.", PaymentCreated),
    EventType("withdrawal.completed", "wdr", "A withdrawal has left the account.", PaymentEnded),
    EventType("withdrawal.failed", "wdr", "A withdrawal failed; its amount is available again.", PaymentEnded),
)
