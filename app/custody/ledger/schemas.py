"""Balances as the API shows them."""

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.custody.accounts.service import PREFIX
from app.custody.ledger.service import Balance
from app.kernel.ids import encode_id
from app.kernel.money import currency_exponent, format_scaled
from app.web.models import ApiModel

_EXAMPLE: JsonDict = {
    "account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "currency": "USD",
    "posted": "98250.75",
    "held": "1500.00",
    "available": "96750.75",
}


class BalanceOut(ApiModel):
    """The cash of one account in one currency."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    account_id: str
    currency: str
    posted: str = Field(description="What the ledger's entries sum to.")
    held: str = Field(description="Reserved for open orders.")
    available: str = Field(description="`posted` less `held`: what a new order or a withdrawal may take.")

    @classmethod
    def of(cls, balance: Balance) -> "BalanceOut":
        exponent = currency_exponent(balance.currency)
        return cls(
            account_id=encode_id(PREFIX, balance.account_id),
            currency=balance.currency,
            posted=format_scaled(balance.posted, exponent),
            held=format_scaled(balance.held, exponent),
            available=format_scaled(balance.available, exponent),
        )


class BalanceList(ApiModel):
    """Every currency of the account, in one page."""

    data: list[BalanceOut]
    has_more: bool = False
