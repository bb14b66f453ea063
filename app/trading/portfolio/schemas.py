"""Positions as the API shows them."""

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.kernel.ids import encode_id
from app.kernel.money import currency_exponent, format_scaled, format_trimmed
from app.trading.portfolio.service import Holding
from app.web.models import ApiModel

_EXAMPLE: JsonDict = {
    "id": "pos_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "deployment_id": "dep_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "instrument_id": "ins_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "symbol": "AAPL",
    "quantity": "120",
    "cost": "24310.80",
    "last_price": "210.35",
    "value": "25242.00",
    "unrealised": "931.20",
    "realised": "412.05",
    "currency": "USD",
}


class PositionOut(ApiModel):
    """What one book (a deployment, or an account's own orders) holds of one instrument."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    account_id: str
    deployment_id: str | None = Field(description="Null for orders placed by hand.")
    instrument_id: str
    symbol: str
    quantity: str
    cost: str = Field(description="Total cost of what is held, without charges.")
    last_price: str | None = Field(description="On the account's feed; null before its first price.")
    value: str | None
    unrealised: str | None = Field(description="`value` less `cost`.")
    realised: str = Field(description="Profit of what was closed, before charges.")
    currency: str

    @classmethod
    def of(cls, holding: Holding) -> "PositionOut":
        row, scale = holding.row, holding.scale
        money = currency_exponent(scale.currency)
        value = holding.value_minor
        return cls(
            id=encode_id("pos", row.id),
            account_id=encode_id("acc", row.account_id),
            deployment_id=None if row.book_id == row.account_id else encode_id("dep", row.book_id),
            instrument_id=encode_id("ins", row.instrument_id),
            symbol=scale.symbol,
            quantity=format_scaled(row.quantity, scale.qty_exp),
            cost=format_scaled(row.cost_minor, money),
            last_price=None if holding.last_price is None else format_trimmed(holding.last_price, scale.price_exp),
            value=None if value is None else format_scaled(value, money),
            unrealised=None if value is None else format_scaled(value - row.cost_minor, money),
            realised=format_scaled(row.realised_minor, money),
            currency=scale.currency,
        )
