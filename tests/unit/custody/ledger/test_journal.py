"""Every journal entry sums to zero, in each currency and in each book."""

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.custody.ledger.domain import (
    MAX_AMOUNT,
    AccountKind,
    Leg,
    Slot,
    TransactionKind,
    cash_in_lieu_entries,
    check_balanced,
    check_reversible,
    client_cash,
    dividend_entries,
    fill_entries,
    fingerprint,
    funding_entries,
    reversal_entries,
    settlement_entries,
    shard_of,
    withdrawal_entries,
)
from app.kernel.errors import DomainError
from app.kernel.money import Money

ACCOUNT = UUID(int=0xA3)
accounts = st.uuids(version=4)
currencies = st.sampled_from(["INR", "USD"])
positive = st.integers(1, MAX_AMOUNT)
signed = st.integers(-(10**14), 10**14)


def sums(legs: tuple[Leg, ...]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for leg in legs:
        found[leg.slot.currency, leg.slot.kind.book] += leg.amount
    return found


def balances(legs: tuple[Leg, ...]) -> None:
    assert set(sums(legs).values()) <= {0}
    assert all(leg.amount for leg in legs)
    if legs:
        check_balanced(legs)


@given(accounts, positive, currencies)
def test_funding_credits_the_client_and_debits_the_bank(account: UUID, minor: int, currency: str) -> None:
    legs = funding_entries(account, Money(minor, currency))
    balances(legs)
    assert legs[0] == Leg(client_cash(account, currency), minor)
    assert sum(leg.amount for leg in legs if leg.slot.kind.normal_side == "debit") == -minor


@given(accounts, positive, currencies)
def test_a_withdrawal_is_funding_undone(account: UUID, minor: int, currency: str) -> None:
    amount = Money(minor, currency)
    balances(withdrawal_entries(account, amount))
    assert withdrawal_entries(account, amount) == reversal_entries(funding_entries(account, amount))


@given(accounts, signed, st.integers(0, 10**9), currencies)
def test_a_fill_balances_and_costs_the_client_its_charges(
    account: UUID, cash: int, charges: int, currency: str
) -> None:
    legs = fill_entries(account, cash=Money(cash, currency), heads={"brokerage": charges, "stt": charges})
    balances(legs)
    by_kind = {leg.slot.kind: leg.amount for leg in legs}
    assert by_kind.get(AccountKind.CLIENT_CASH, 0) == 0
    assert by_kind.get(AccountKind.CLIENT_RECEIVABLE, 0) == max(cash - 2 * charges, 0)
    assert by_kind.get(AccountKind.CLIENT_PAYABLE, 0) == min(cash - 2 * charges, 0)
    assert by_kind.get(AccountKind.CHARGES, 0) == by_kind.get(AccountKind.TAXES, 0) == charges


@given(accounts, signed, signed, currencies)
def test_what_a_fill_blocks_moves_within_what_the_client_owns(
    account: UUID, cash: int, margin: int, currency: str
) -> None:
    plain = fill_entries(account, cash=Money(cash, currency), heads={})
    legs = fill_entries(account, cash=Money(cash, currency), heads={}, margin=margin)
    balances(legs)
    by_kind = {leg.slot.kind: leg.amount for leg in legs}
    assert by_kind.get(AccountKind.CLIENT_MARGIN, 0) == -by_kind.get(AccountKind.CLIENT_CASH, 0) == margin
    assert set(plain) <= set(legs)


@given(accounts, signed, st.integers(0, 10**9), currencies)
def test_a_settlement_turns_what_a_fill_left_unsettled_into_cash(
    account: UUID, cash: int, charges: int, currency: str
) -> None:
    net = cash - charges
    paid = Money(cash, currency)
    legs = settlement_entries(account, cash=paid, receivable=max(net, 0), payable=max(-net, 0))
    balances(legs)
    left: Counter[AccountKind] = Counter()
    for leg in (*fill_entries(account, cash=paid, heads={"brokerage": charges}), *legs):
        left[leg.slot.kind] += leg.amount
    assert {kind: amount for kind, amount in left.items() if amount} == {
        kind: amount
        for kind, amount in {
            AccountKind.CLIENT_CASH: net,
            AccountKind.OMNIBUS_BANK: -cash,
            AccountKind.CHARGES: charges,
        }.items()
        if amount
    }


@given(accounts, signed, currencies)
def test_corporate_actions_balance_for_long_and_short_positions(account: UUID, minor: int, currency: str) -> None:
    for build in (dividend_entries, cash_in_lieu_entries):
        legs = build(account, Money(minor, currency))
        balances(legs)
        assert len(legs) == (2 if minor else 0)


@given(accounts, signed, st.integers(0, 10**9))
def test_an_entry_and_its_reversal_leave_every_account_as_it_was(account: UUID, cash: int, charges: int) -> None:
    legs = fill_entries(account, cash=Money(cash, "USD"), heads={"brokerage": charges})
    left: Counter[Slot] = Counter()
    for leg in (*legs, *reversal_entries(legs)):
        left[leg.slot] += leg.amount
    assert set(left.values()) <= {0}


@given(accounts, positive, st.randoms())
def test_the_fingerprint_knows_the_movement_but_not_the_order_of_its_legs(
    account: UUID, minor: int, chance: object
) -> None:
    legs = funding_entries(account, Money(minor, "USD"))
    same = fingerprint(TransactionKind.FUNDING, legs[::-1])
    assert fingerprint(TransactionKind.FUNDING, legs) == same
    assert fingerprint(TransactionKind.DEPOSIT, legs) != same
    assert fingerprint(TransactionKind.FUNDING, reversal_entries(legs)) != same


CASH, BANK = client_cash(ACCOUNT, "USD"), Slot(AccountKind.OMNIBUS_BANK, "USD")


@pytest.mark.parametrize(
    ("legs", "code"),
    [
        ((Leg(CASH, 5), Leg(BANK, -4)), "ledger_unbalanced"),
        ((Leg(CASH, 5), Leg(Slot(AccountKind.OMNIBUS_BANK, "INR"), -5)), "ledger_unbalanced"),
        ((Leg(CASH, 5), Leg(Slot(AccountKind.FIRM_BANK, "USD"), -5)), "ledger_unbalanced"),
        ((Leg(CASH, 5),), "invalid_posting"),
        ((), "invalid_posting"),
        ((Leg(CASH, 5), Leg(CASH, -5)), "invalid_posting"),
        ((Leg(CASH, 0), Leg(BANK, 0)), "invalid_posting"),
        ((Leg(CASH, MAX_AMOUNT + 1), Leg(BANK, -MAX_AMOUNT - 1)), "invalid_posting"),
    ],
)
def test_a_posting_that_does_not_balance_is_refused(legs: tuple[Leg, ...], code: str) -> None:
    with pytest.raises(DomainError) as caught:
        check_balanced(legs)
    assert caught.value.code == code


@pytest.mark.parametrize("minor", [0, -1, MAX_AMOUNT + 1])
def test_funding_takes_an_amount_above_zero_within_range(minor: int) -> None:
    for build in (funding_entries, withdrawal_entries):
        with pytest.raises(DomainError, match="above zero"):
            build(ACCOUNT, Money(minor, "USD"))


def test_client_cash_has_an_owner_and_nothing_else_has() -> None:
    with pytest.raises(ValueError, match="belong to a trading account"):
        Slot(AccountKind.CLIENT_CASH, "USD")
    with pytest.raises(ValueError, match="belong to a trading account"):
        Slot(AccountKind.CHARGES, "USD", ACCOUNT)


@given(accounts)
def test_an_account_always_uses_the_same_shard(account: UUID) -> None:
    assert shard_of(account) == account.bytes[15] % 8


@pytest.mark.parametrize("kind", TransactionKind)
def test_what_has_another_half_elsewhere_is_not_undone_by_itself(kind: TransactionKind) -> None:
    """In the position, or in the settlement by which it comes to the bank."""
    halves = {"fill", "settlement", "split", "split_cash", "dividend", "reversal"}
    if kind not in halves:
        check_reversible(kind, reversed_by=None)
        return
    with pytest.raises(DomainError) as refused:
        check_reversible(kind, reversed_by=None)
    assert refused.value.code == "not_reversible"
