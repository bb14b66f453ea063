"""Decides how money moves: the chart's kinds, and one balanced list of legs for each thing that can happen.

Sign convention, everywhere in the ledger: an amount above zero is a credit. It increases what somebody is owed
(clients, the clearing house, the collectors of charges) and decreases what is owned (money at a bank). So assets show
negative balances, and all balances of a currency sum to zero.

Client money and the firm's own are two books; each sums to zero by itself, so that the firm's money is never in the
clients' pool. Charges stay in the pool until they are paid over.

A fill posts to what is unsettled; its settlement, the next trading day, turns that into cash, and moves the securities.
Sale proceeds may buy again at once, but leave only when settled. Units of an instrument are a second kind of balance:
what clients own of it and what lies at the depository sum to zero. What orders and withdrawals reserve is
`pending_out` of a client's cash, itemised in holds; the margin of open intraday positions is moved out of it.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from pydantic import Field

from app.kernel.errors import conflict, invalid
from app.kernel.events import DecimalText, EventPayload, EventType
from app.kernel.money import Money

SHARDS = 8
MAX_AMOUNT = 10**15


class AccountKind(StrEnum):
    """The chart. Credit-normal: what is owed; debit-normal: what is owned."""

    CLIENT_CASH = "client_cash"  # credit: settled money of the holder of a trading account; the floor is 0
    CLIENT_RECEIVABLE = "client_receivable"  # credit: what the client's sales bring when they settle
    CLIENT_PAYABLE = "client_payable"  # debit: what the client's purchases cost when they settle
    CLIENT_MARGIN = "client_margin"  # credit: the client's money that open intraday positions block
    CLIENT_SECURITIES = "client_securities"  # credit: settled units of an instrument, the client's
    OMNIBUS_BANK = "omnibus_bank"  # debit: the clients' pooled money at the bank
    DEPOSITORY = "depository"  # debit: the clients' pooled units of an instrument
    CLEARING = "clearing"  # credit: owed to the clearing house for trades not yet settled (negative: it owes us)
    CHARGES = "charges"  # credit: collected by head, not yet paid to broker, exchange and regulator
    TAXES = "taxes"  # credit: collected by head, not yet paid to the state
    SUSPENSE = "suspense"  # credit: received for a client not yet identified
    FIRM_BANK = "firm_bank"  # debit: the tenant's own money
    FIRM_INCOME = "firm_income"  # credit: what the tenant earned

    @property
    def book(self) -> str:
        """`client` or `firm`."""
        return "firm" if self in (AccountKind.FIRM_BANK, AccountKind.FIRM_INCOME) else "client"

    @property
    def normal_side(self) -> str:
        """The side on which the balance usually stands."""
        return "debit" if self in _OWNED else "credit"

    @property
    def is_client(self) -> bool:
        """Whether a trading account has one of its own."""
        return self.value.startswith("client_")


_OWNED = {AccountKind.OMNIBUS_BANK, AccountKind.DEPOSITORY, AccountKind.FIRM_BANK, AccountKind.CLIENT_PAYABLE}
_TAXES = frozenset({"stt", "ctt", "stamp", "gst"})


class TransactionKind(StrEnum):
    FUNDING = "funding"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRANSFER = "transfer"
    FILL = "fill"
    CHARGE = "charge"
    DIVIDEND = "dividend"
    SPLIT = "split"
    SPLIT_CASH = "split_cash"
    SETTLEMENT = "settlement"
    REVERSAL = "reversal"
    ADJUSTMENT = "adjustment"


REVERSIBLE = frozenset(TransactionKind) - {
    TransactionKind.FILL,
    TransactionKind.SETTLEMENT,
    TransactionKind.SPLIT,
    TransactionKind.SPLIT_CASH,
    TransactionKind.DIVIDEND,
    TransactionKind.REVERSAL,
}
"""Positions follow fills, settlements and splits: to undo money alone would part the two. What dividends and fractions
bring the client is half of it: the bank's follows by a settlement."""


def check_reversible(kind: TransactionKind, *, reversed_by: str | None) -> None:
    """Raises `not_reversible`, `already_reversed`."""
    if kind not in REVERSIBLE:
        raise conflict(
            "not_reversible",
            f"A {kind} is not reversed: positions follow it. Correct the money with another transaction.",
        )
    if reversed_by is not None:
        raise conflict("already_reversed", f"This was reversed by {reversed_by}: a transaction is reversed once.")


class BreakKind(StrEnum):
    WRONG_AMOUNT = "wrong_amount"  # paid, but not what was asked for
    UNIDENTIFIED = "unidentified"  # paid, for nothing that is known
    UNEXPECTED = "unexpected"  # paid for something that had ended, or paid again
    OVERDUE = "overdue"  # not paid, and nobody says why
    DIFFERENCE = "difference"  # a statement from outside says something else


@dataclass(frozen=True, slots=True)
class Difference:
    """What somebody outside says against what was expected, in minor units (or units of an instrument)."""

    kind: BreakKind
    expected: int
    actual: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the chart for money: `account_id` owns a client's kinds; the tenant's have a shard, some a head."""

    kind: AccountKind
    currency: str
    account_id: UUID | None = None
    shard: int = 0
    head: str = ""

    def __post_init__(self) -> None:
        if (self.account_id is None) == self.kind.is_client:
            raise ValueError("a client's kinds belong to a trading account, and nothing else does")


@dataclass(frozen=True, slots=True)
class Leg:
    """`amount` in minor units: above zero a credit, below zero a debit."""

    slot: Slot
    amount: int


def shard_of(account_id: UUID) -> int:
    """Which clearing and charges account serves a trading account; `ledger_shard` in SQL is the same."""
    return account_id.int % SHARDS


def client_cash(account_id: UUID, currency: str) -> Slot:
    return Slot(AccountKind.CLIENT_CASH, currency, account_id)


def funding_entries(account_id: UUID, amount: Money) -> tuple[Leg, ...]:
    """Money comes into the pool for a client. Raises `invalid_amount` unless above zero."""
    _positive(amount)
    return _between(account_id, amount, Slot(AccountKind.OMNIBUS_BANK, amount.currency))


def withdrawal_entries(account_id: UUID, amount: Money) -> tuple[Leg, ...]:
    """Money leaves the pool for a client's own bank. Raises `invalid_amount` unless above zero."""
    _positive(amount)
    return _between(account_id, -amount, Slot(AccountKind.OMNIBUS_BANK, amount.currency))


def head_kind(head: str) -> AccountKind:
    """Which kind collects a head of charges; `ledger_head_kind` in SQL is the same."""
    return AccountKind.TAXES if head in _TAXES else AccountKind.CHARGES


def fill_entries(account_id: UUID, *, cash: Money, heads: Mapping[str, int], margin: int = 0) -> tuple[Leg, ...]:
    """One execution: `cash` is what the trade brings before charges (negative for a buy), `heads` what it costs,
    `margin` what its open position blocks more of the client's cash (below zero: less).

    `ledger_settle_fills` posts exactly these legs. Empty when nothing moves.
    """
    currency, shard = cash.currency, shard_of(account_id)
    net = cash.minor - sum(heads.values())
    kind = AccountKind.CLIENT_RECEIVABLE if net > 0 else AccountKind.CLIENT_PAYABLE
    return _moving(
        Leg(Slot(kind, currency, account_id), net),
        Leg(Slot(AccountKind.CLEARING, currency, shard=shard), -cash.minor),
        *(Leg(Slot(head_kind(head), currency, shard=shard, head=head), minor) for head, minor in heads.items()),
        Leg(client_cash(account_id, currency), -margin),
        Leg(Slot(AccountKind.CLIENT_MARGIN, currency, account_id), margin),
    )


def settlement_entries(account_id: UUID, *, cash: Money, receivable: int, payable: int) -> tuple[Leg, ...]:
    """The money of a day's trades: `cash` as the fills had it in sum, what they left receivable and payable.

    `ledger_settle_trades` posts exactly these legs, and those of the securities.
    """
    currency = cash.currency
    return _moving(
        Leg(client_cash(account_id, currency), receivable - payable),
        Leg(Slot(AccountKind.CLIENT_RECEIVABLE, currency, account_id), -receivable),
        Leg(Slot(AccountKind.CLIENT_PAYABLE, currency, account_id), payable),
        Leg(Slot(AccountKind.CLEARING, currency, shard=shard_of(account_id)), cash.minor),
        Leg(Slot(AccountKind.OMNIBUS_BANK, currency), -cash.minor),
    )


def suspense_entries(amount: Money) -> tuple[Leg, ...]:
    """Money came (below zero: went) and nobody can say yet whose it is."""
    bank = Slot(AccountKind.OMNIBUS_BANK, amount.currency)
    return _moving(Leg(Slot(AccountKind.SUSPENSE, amount.currency), amount.minor), Leg(bank, -amount.minor))


def allocation_entries(account_id: UUID, amount: Money) -> tuple[Leg, ...]:
    """What waited in suspense turns out to be a client's."""
    _positive(amount)
    return _between(account_id, amount, Slot(AccountKind.SUSPENSE, amount.currency))


def dividend_entries(account_id: UUID, amount: Money) -> tuple[Leg, ...]:
    """A cash dividend; negative when a short position pays it. Empty when it rounds to nothing."""
    return _between(account_id, amount, Slot(AccountKind.CLEARING, amount.currency, shard=shard_of(account_id)))


def cash_in_lieu_entries(account_id: UUID, amount: Money) -> tuple[Leg, ...]:
    """The payment for the fraction that a split leaves; negative for a short position."""
    return dividend_entries(account_id, amount)


def reversal_entries(legs: Iterable[Leg]) -> tuple[Leg, ...]:
    """The legs that undo `legs`: history is corrected by adding to it."""
    return tuple(Leg(leg.slot, -leg.amount) for leg in legs)


def check_balanced(legs: Sequence[Leg]) -> None:
    """Raises `ledger_unbalanced`, or `invalid_posting` for fewer than two legs, a repeated account or a bad amount."""
    if len(legs) < 2 or len({leg.slot for leg in legs}) < len(legs):
        raise invalid("invalid_posting", "A ledger transaction takes two or more legs, each account once.")
    if not all(0 < abs(leg.amount) <= MAX_AMOUNT for leg in legs):
        raise invalid("invalid_posting", f"The amount of a leg is between 1 and {MAX_AMOUNT} minor units.")
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for leg in legs:
        sums[leg.slot.currency, leg.slot.kind.book] += leg.amount
    for (currency, book), total in sums.items():
        if total:
            raise invalid("ledger_unbalanced", f"The {book} legs in {currency} sum to {total}, not to zero.")


def fingerprint(kind: TransactionKind, legs: Sequence[Leg]) -> str:
    """What a repeated idempotency key is compared by: the same movement in any order of legs."""
    lines = sorted(f"{s.kind}|{s.currency}|{s.account_id}|{s.shard}|{leg.amount}" for leg in legs for s in (leg.slot,))
    return hashlib.sha256("\n".join((kind, *lines)).encode()).hexdigest()


def _positive(amount: Money) -> None:
    if not 0 < amount.minor <= MAX_AMOUNT:
        raise invalid("invalid_amount", "The amount must be above zero and not beyond the ledger's range.")


def _between(account_id: UUID, amount: Money, other: Slot) -> tuple[Leg, ...]:
    return _moving(Leg(client_cash(account_id, amount.currency), amount.minor), Leg(other, -amount.minor))


def _moving(*legs: Leg) -> tuple[Leg, ...]:
    return tuple(leg for leg in legs if leg.amount)


class TransactionReversed(EventPayload):
    reversal_id: str = Field(description="The transaction that undoes it.")
    reason: str = Field(description="Why.")


class BreakOpened(EventPayload):
    kind: str = Field(description="What does not fit.")
    source: str = Field(description="Who says so.")
    expected: DecimalText = Field(description="What the ledger expected.")
    actual: DecimalText = Field(description="What was said instead.")
    currency: str = Field(description="ISO 4217; XXX for units of an instrument.")


class BreakResolved(EventPayload):
    reason: str = Field(description="What it was.")


EVENTS = (
    EventType("ledger_transaction.reversed", "ltx", "A ledger transaction was undone by another.", TransactionReversed),
    EventType("break.opened", "brk", "The ledger and somebody outside do not agree.", BreakOpened),
    EventType("break.resolved", "brk", "A difference was explained.", BreakResolved),
)
