"""Deposits and withdrawals as the API shows them."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.custody.funding.domain import Direction
from app.custody.funding.service import DEPOSIT, WITHDRAWAL
from app.custody.funding.tables import Payment
from app.kernel.ids import encode_id
from app.kernel.money import currency_exponent, format_scaled
from app.web.models import ApiModel, PositiveDecimal

_ACCOUNT = "acc_01kpx4t8yhe6rb2y6x3v1m9d0c"
_EXAMPLE: JsonDict = {
    "id": "dps_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "account_id": _ACCOUNT,
    "amount": "2500.00",
    "currency": "INR",
    "status": "completed",
    "reference": "pay-7719",
    "reason": None,
    "created_at": "2026-01-30T12:00:00Z",
    "ended_at": "2026-01-30T12:00:02Z",
}


class CreateDeposit(ApiModel):
    """What `POST /v1/deposits` takes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"account_id": _ACCOUNT, "amount": "2500.00"}]})

    account_id: str = Field(max_length=64, description="Where it goes.")
    amount: PositiveDecimal = Field(description="In the account's currency.")


class CreateWithdrawal(ApiModel):
    """What `POST /v1/withdrawals` takes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"account_id": _ACCOUNT, "amount": "2500.00"}]})

    account_id: str = Field(max_length=64, description="Where it comes from.")
    amount: PositiveDecimal = Field(description="In the account's currency; at most what is `withdrawable`.")
    approval_id: str | None = Field(
        default=None,
        max_length=64,
        description="Of `withdrawal.create` with this account and amount; needed beyond 100000 INR or 1000 USD.",
    )


class PaymentOut(ApiModel):
    """A deposit or a withdrawal."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    account_id: str
    amount: str = Field(description="In the account's currency.")
    currency: str
    status: Literal["pending", "sent", "completed", "failed", "disputed"] = Field(
        description="`sent`: the provider has it, or may. `disputed`: another amount came; it waits in suspense."
    )
    reference: str | None = Field(description="The provider's own.")
    reason: str | None = Field(description="Why it failed or is disputed.")
    created_at: datetime
    ended_at: datetime | None = Field(description="When it was completed or failed.")

    @classmethod
    def of(cls, row: Payment) -> "PaymentOut":
        return cls.model_validate(
            {
                "id": encode_id(DEPOSIT if row.direction == Direction.DEPOSIT else WITHDRAWAL, row.id),
                "account_id": encode_id("acc", row.account_id),
                "amount": format_scaled(row.amount_minor, currency_exponent(row.currency)),
                "currency": row.currency,
                "status": row.status,
                "reference": row.reference,
                "reason": row.reason,
                "created_at": row.created_at,
                "ended_at": row.ended_at,
            }
        )
