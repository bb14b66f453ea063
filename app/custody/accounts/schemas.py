"""Clients and trading accounts as the API shows them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.custody.accounts.domain import ClientStatus, NewAccount
from app.custody.accounts.service import CLIENT, PREFIX
from app.custody.accounts.tables import Account, Client
from app.kernel.ids import encode_id
from app.kernel.money import Money, currency_exponent, parse_scaled
from app.kernel.orders import Mode
from app.web.models import ApiModel, PositiveDecimal, WholeNumber

_EXAMPLE: JsonDict = {
    "id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "client_id": None,
    "name": "momentum, paper",
    "mode": "test",
    "currency": "USD",
    "broker": "paper",
    "feed": "replay",
    "charge_schedule": "us_equity",
    "slippage_bps": 5,
    "status": "active",
    "created_at": "2026-01-30T12:00:00Z",
}


class CreateClient(ApiModel):
    """What `POST /v1/clients` takes. Keep what you know of the person with you: here are a number and a name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"external_ref": "C-1042", "name": "Asha K."}]})

    external_ref: Annotated[str, Field(min_length=1, max_length=64, description="Your own number for it, once.")]
    name: Annotated[str, Field(min_length=1, max_length=80, description="What it is called on screens.")]


class ChangeClient(ApiModel):
    """What `PATCH /v1/clients/{id}` takes; what is absent stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Asha Kumar"}]})

    name: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    status: ClientStatus | None = Field(default=None, description="`closed` once all of its accounts are.")


class ClientOut(ApiModel):
    """An end customer. Its accounts: `GET /v1/accounts?client_id=…`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "cli_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "external_ref": "C-1042",
                    "name": "Asha K.",
                    "status": "active",
                    "created_at": "2026-01-30T12:00:00Z",
                }
            ]
        }
    )

    id: str
    external_ref: str
    name: str
    status: ClientStatus
    created_at: datetime

    @classmethod
    def of(cls, row: Client) -> "ClientOut":
        return cls(
            id=encode_id(CLIENT, row.id),
            external_ref=row.external_ref,
            name=row.name,
            status=ClientStatus(row.status),
            created_at=row.created_at,
        )


class CreateAccount(ApiModel):
    """What `POST /v1/accounts` takes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "momentum, paper", "currency": "USD", "opening_balance": "100000.00"}],
        }
    )

    client_id: Annotated[str, Field(max_length=40)] | None = Field(
        default=None, description="The end customer it is for; null for your own."
    )
    name: Annotated[str, Field(min_length=1, max_length=80)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code, for the account's life.")]
    opening_balance: PositiveDecimal = Field(description="Virtual money the account starts with, at most 1000000000.")
    mode: Mode = Field(default=Mode.TEST, description="`live` accounts cannot be opened yet.")
    broker: Literal["paper"] = "paper"
    feed: Literal["replay"] = Field(default="replay", description="Where the account's prices come from.")
    charge_schedule: Annotated[str, Field(max_length=40)] | None = Field(
        default=None, description="Null for the currency's usual one: us_equity or nse_equity."
    )
    slippage_bps: Annotated[WholeNumber, Field(ge=0, le=1000)] = Field(
        default=5, description="How much worse than the price market orders fill, in hundredths of a per cent."
    )

    def command(self) -> NewAccount:
        """Raises `unknown_currency`, `too_precise`, `out_of_range`."""
        minor = parse_scaled(self.opening_balance, currency_exponent(self.currency), param="opening_balance")
        return NewAccount(
            name=self.name,
            currency=self.currency,
            opening_balance=Money(minor, self.currency),
            mode=self.mode,
            broker=self.broker,
            feed=self.feed,
            charge_schedule=self.charge_schedule,
            slippage_bps=self.slippage_bps,
        )


class AccountOut(ApiModel):
    """A trading account. Its money is at `GET /v1/balances`."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    client_id: str | None = Field(description="The end customer it belongs to; null for your own.")
    name: str
    mode: Mode
    currency: str
    broker: str
    feed: str
    charge_schedule: str
    slippage_bps: int
    status: Literal["active", "reduce_only", "closed"]
    created_at: datetime

    @classmethod
    def of(cls, row: Account) -> "AccountOut":
        return cls.model_validate(
            {
                "id": encode_id(PREFIX, row.id),
                "client_id": None if row.client_id is None else encode_id(CLIENT, row.client_id),
                **{name: getattr(row, name) for name in cls.model_fields if name not in ("id", "client_id")},
            }
        )
