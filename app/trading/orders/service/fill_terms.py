"""What an execution shows over the API."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from app.kernel.ids import encode_id
from app.kernel.instrument import InstrumentScale
from app.kernel.money import currency_exponent, format_scaled, format_trimmed
from app.kernel.orders import Side
from app.web.models import ApiModel


class FillOut(ApiModel):
    """One execution with its charges, head by head."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "fil_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "order_id": "ord_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "account_id": "acc_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "deployment_id": None,
                    "instrument_id": "ins_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "symbol": "AAPL",
                    "side": "buy",
                    "quantity": "10",
                    "price": "210.35",
                    "notional": "2103.50",
                    "charges": "1.00",
                    "charge_heads": {"commission": "1.00"},
                    "realised": "0.00",
                    "currency": "USD",
                    "occurred_at": "2003-06-03T13:30:00Z",
                    "recorded_at": "2026-01-30T12:00:00Z",
                }
            ]
        }
    )

    id: str
    order_id: str
    account_id: str
    deployment_id: str | None
    instrument_id: str
    symbol: str
    side: Side
    quantity: str
    price: str
    notional: str
    charges: str
    charge_heads: dict[str, str]
    realised: str = Field(description="Profit of what it closed, before charges.")
    currency: str
    occurred_at: datetime = Field(description="Market time.")
    recorded_at: datetime

    @classmethod
    def of(cls, fill: Any, scale: InstrumentScale) -> "FillOut":
        money = currency_exponent(scale.currency)
        return cls(
            id=encode_id("fil", fill.id),
            order_id=encode_id("ord", fill.order_id),
            account_id=encode_id("acc", fill.account_id),
            deployment_id=encode_id("dep", fill.deployment_id) if fill.deployment_id else None,
            instrument_id=encode_id("ins", fill.instrument_id),
            symbol=scale.symbol,
            side=Side(fill.side),
            quantity=format_scaled(fill.quantity, scale.qty_exp),
            price=format_trimmed(fill.price, scale.price_exp),
            notional=format_scaled(fill.notional_minor, money),
            charges=format_scaled(fill.charges_minor, money),
            charge_heads={head: format_scaled(minor, money) for head, minor in fill.heads.items()},
            realised=format_scaled(fill.realised_minor, money),
            currency=scale.currency,
            occurred_at=fill.occurred_at,
            recorded_at=fill.recorded_at,
        )
