"""Decides what `mandi charges` reads and says: a list of trades in, the heads of each day's contract note out."""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.engine.schedule import Trade, note, schedule_named
from app.kernel.errors import invalid
from app.kernel.money import currency_exponent, format_scaled, notional_minor, parse_scaled
from app.kernel.orders import Product, Side

PRICE_EXP = 4
_Positive = Annotated[Decimal, Field(gt=0, max_digits=15)]


class TradeIn(BaseModel):
    """One executed order. `on`: the trade date; `price` per unit, in the currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    side: Side
    quantity: Annotated[int, Field(gt=0, lt=2**40)]
    price: _Positive
    on: date
    product: Product = Product.DELIVERY


def charge_notes(text: str, schedule_name: str, currency: str) -> dict[str, Any]:
    """The notes of a JSON list of trades: one per date, every head rounded as the schedule says, and their sums.

    Raises `invalid_trades` naming the trade and its field, `charge_schedule_not_found`, `charges_unknown`.
    """
    schedule = schedule_named(schedule_name)
    currency = schedule.currency or currency
    money = currency_exponent(currency)
    days: dict[date, list[Trade]] = defaultdict(list)
    for one in _parse(text):
        price = parse_scaled(str(one.price), PRICE_EXP, param="price")
        notional = notional_minor(one.quantity, price, qty_exp=0, price_exp=PRICE_EXP, money_exp=money)
        days[one.on].append(Trade(notional, one.quantity, one.side, one.product, one.on))
    found = {day: note(schedule, trades) for day, trades in sorted(days.items())}

    def shown(heads: Mapping[str, int]) -> dict[str, Any]:
        named = {name: format_scaled(minor, money) for name, minor in heads.items()}
        return {"heads": named, "total": format_scaled(sum(heads.values()), money)}

    sums = {name: sum(charges.as_dict()[name] for charges in found.values()) for name in schedule.heads}
    notes = [
        {"on": day.isoformat(), "trades": len(days[day]), **shown(charges.as_dict())} for day, charges in found.items()
    ]
    return {"schedule": schedule.name, "currency": currency, "notes": notes, **shown(sums)}


def _parse(text: str) -> list[TradeIn]:
    try:
        return TypeAdapter(list[TradeIn]).validate_python(json.loads(text, parse_float=Decimal), strict=False)
    except json.JSONDecodeError as error:
        raise invalid("invalid_trades", f"The trades are not JSON: {error}.", param="trades") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(["trades", *(str(part) for part in first["loc"])])
        raise invalid("invalid_trades", f"{path}: {first['msg']}", param=path) from None
