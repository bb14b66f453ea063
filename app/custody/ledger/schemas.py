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
    "settled": "97000.75",
    "receivable": "2500.00",
    "payable": "1250.00",
    "held": "1500.00",
    "available": "96750.75",
    "withdrawable": "94250.75",
}


class BalanceOut(ApiModel):
    """The cash of one account in one currency."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    account_id: str
    currency: str
    posted: str = Field(description="By trade date: `settled` + `receivable` - `payable`.")
    settled: str = Field(description="Cash that is there.")
    receivable: str = Field(description="What sales bring on their settlement day.")
    payable: str = Field(description="What purchases cost on their settlement day.")
    held: str = Field(description="Reserved for open orders and pending withdrawals.")
    available: str = Field(description="`posted` - `held`: what a new order may take.")
    withdrawable: str = Field(description="`settled` - `payable` - `held`, if above zero: what a withdrawal may take.")

    @classmethod
    def of(cls, balance: Balance) -> "BalanceOut":
        def shown(minor: int) -> str:
            return format_scaled(minor, currency_exponent(balance.currency))

        return cls(
            account_id=encode_id(PREFIX, balance.account_id),
            currency=balance.currency,
            posted=shown(balance.posted),
            settled=shown(balance.settled),
            receivable=shown(balance.receivable),
            payable=shown(balance.payable),
            held=shown(balance.held),
            available=shown(balance.available),
            withdrawable=shown(balance.withdrawable),
        )


class BalanceList(ApiModel):
    """Every currency of the account, in one page."""

    data: list[BalanceOut]
    has_more: bool = False
