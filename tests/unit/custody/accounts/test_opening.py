"""What a new account may be."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from app.custody.accounts.domain import NewAccount, check_new_account
from app.custody.accounts.schemas import CreateAccount
from app.engine.schedule import schedule_named
from app.kernel.errors import DomainError
from app.kernel.money import Money
from app.kernel.orders import Mode

PAPER = NewAccount(name="a", currency="USD", opening_balance=Money(100, "USD"))


def refusal(asked: NewAccount, *, key_mode: Mode = Mode.TEST) -> tuple[str, str | None]:
    currency = schedule_named(asked.schedule_name).currency
    with pytest.raises(DomainError) as caught:
        check_new_account(asked, schedule_currency=currency, key_mode=key_mode)
    return caught.value.code, caught.value.param


def test_a_paper_account_in_either_currency_is_welcome() -> None:
    check_new_account(PAPER, schedule_currency="USD", key_mode=Mode.TEST)
    rupees = replace(PAPER, currency="INR", opening_balance=Money(1, "INR"))
    check_new_account(rupees, schedule_currency=schedule_named(rupees.schedule_name).currency, key_mode=Mode.TEST)
    assert (PAPER.schedule_name, rupees.schedule_name) == ("us_equity", "nse_equity")


def test_live_accounts_are_refused_with_the_reason() -> None:
    assert refusal(replace(PAPER, mode=Mode.LIVE)) == ("live_accounts_unavailable", "mode")
    assert refusal(PAPER, key_mode=Mode.LIVE) == ("live_accounts_unavailable", "mode")


def test_what_does_not_fit_is_named() -> None:
    assert refusal(replace(PAPER, broker="kite")) == ("broker_unavailable", "broker")
    assert refusal(replace(PAPER, currency="EUR", charge_schedule="zero")) == ("unknown_currency", "currency")
    assert refusal(replace(PAPER, charge_schedule="nse_equity")) == ("currency_mismatch", "charge_schedule")
    assert refusal(replace(PAPER, opening_balance=Money(5, "INR"))) == ("currency_mismatch", "opening_balance")
    for minor in (0, -1, 10**11 + 1):
        assert refusal(replace(PAPER, opening_balance=Money(minor, "USD"))) == ("invalid_amount", "opening_balance")


def test_the_body_becomes_exact_minor_units() -> None:
    body = CreateAccount.model_validate({"name": "a", "currency": "USD", "opening_balance": "100000.05"})
    assert body.command().opening_balance == Money(10_000_005, "USD")


@pytest.mark.parametrize(
    "change",
    [
        {"opening_balance": 5},
        {"opening_balance": "0"},
        {"opening_balance": "-1"},
        {"opening_balance": "1e3"},
        {"name": ""},
        {"currency": "usd"},
        {"slippage_bps": 1001},
        {"slippage_bps": "5"},
        {"broker": "kite"},
        {"colour": "blue"},
    ],
)
def test_a_malformed_body_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CreateAccount.model_validate({"name": "a", "currency": "USD", "opening_balance": "1", **change})


def test_more_decimals_than_the_currency_has_are_refused() -> None:
    body = CreateAccount.model_validate({"name": "a", "currency": "USD", "opening_balance": "1.005"})
    with pytest.raises(DomainError, match="at most 2 decimal places"):
        body.command()
