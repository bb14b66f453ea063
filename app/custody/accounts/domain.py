"""Decides what a new trading account may be, and when an end customer can go. Only paper accounts so far."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import Field

from app.kernel.errors import DomainError, Kind, conflict, invalid
from app.kernel.events import DecimalText, EventPayload, EventType
from app.kernel.money import Money, currency_exponent
from app.kernel.orders import Mode

MAX_OPENING_UNITS = 1_000_000_000
DEFAULT_SCHEDULE = {"INR": "nse_equity", "USD": "us_equity"}


class ClientStatus(StrEnum):
    """No account can be opened for a closed client."""

    ACTIVE = "active"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What opening an account takes. `charge_schedule` None: the usual one of the currency."""

    name: str
    currency: str
    opening_balance: Money
    mode: Mode = Mode.TEST
    broker: str = "paper"
    feed: str = "replay"
    charge_schedule: str | None = None
    slippage_bps: int = 5

    @property
    def schedule_name(self) -> str:
        """The charge schedule asked for, or the currency's usual one."""
        return self.charge_schedule or DEFAULT_SCHEDULE.get(self.currency, "zero")


def check_new_account(asked: NewAccount, *, schedule_currency: str | None, key_mode: Mode) -> None:
    """Raises `live_accounts_unavailable`, `broker_unavailable`, `currency_mismatch` or `invalid_amount`.

    `schedule_currency` is the one that the charge schedule is written in; None fits any.
    """
    if asked.mode is Mode.LIVE or key_mode is Mode.LIVE:
        raise DomainError(
            "live_accounts_unavailable",
            Kind.FORBIDDEN,
            "Live accounts cannot be opened yet: no live broker is connected. Use a test key and mode 'test'.",
            param="mode",
        )
    if asked.broker != "paper":
        raise invalid("broker_unavailable", f"No broker {asked.broker!r} is connected; use 'paper'.", param="broker")
    exponent = currency_exponent(asked.currency)
    if schedule_currency not in (None, asked.currency):
        raise invalid(
            "currency_mismatch",
            f"The charge schedule {asked.schedule_name!r} charges {schedule_currency}, not {asked.currency}.",
            param="charge_schedule",
        )
    if asked.opening_balance.currency != asked.currency:
        raise invalid("currency_mismatch", "The opening balance is in another currency.", param="opening_balance")
    if not 0 < asked.opening_balance.minor <= MAX_OPENING_UNITS * 10**exponent:
        raise invalid(
            "invalid_amount",
            f"The opening balance must be above 0 and at most {MAX_OPENING_UNITS} {asked.currency}.",
            param="opening_balance",
        )


def check_client_change(wanted: ClientStatus, *, open_accounts: int) -> None:
    """Raises `client_has_accounts`: a client is closed after the accounts."""
    if wanted is ClientStatus.CLOSED and open_accounts:
        raise conflict(
            "client_has_accounts",
            f"The client has {open_accounts} accounts that are not closed: close them first.",
            param="status",
        )


def check_client_open(status: ClientStatus) -> None:
    """Raises `client_closed`: nothing is opened for a client who is gone."""
    if status is ClientStatus.CLOSED:
        raise conflict("client_closed", "This client is closed: reopen it (PATCH /v1/clients/{id}).", param="client_id")


class ClientCreated(EventPayload):
    external_ref: str = Field(description="Your own number for the client.")


class ClientChanged(EventPayload):
    """What changed, with its new value."""

    name: str | None = Field(default=None, description="The new name, if it changed.")
    status: Literal["active", "closed"] | None = Field(default=None, description="The new status, if it changed.")


class AccountOpened(EventPayload):
    name: str = Field(description="The account's name.")
    mode: Literal["test", "live"] = Field(description="Whether its money is real.")
    currency: str = Field(description="ISO 4217.")
    opening_balance: DecimalText = Field(description="What it begins with, in its currency.")


EVENTS = (
    EventType("client.created", "cli", "An end customer was created.", ClientCreated),
    EventType("client.changed", "cli", "An end customer was renamed, closed or reopened.", ClientChanged),
    EventType("account.opened", "acc", "A trading account was opened and funded.", AccountOpened),
)
