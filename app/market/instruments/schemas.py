"""Instruments as the API shows them: public ids, decimal strings."""

from datetime import date

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from app.kernel.ids import encode_id
from app.kernel.money import format_scaled, format_trimmed
from app.market.instruments.service import InstrumentView

PREFIX = "ins"
_EXAMPLE: JsonDict = {
    "id": "ins_55tk7637xzgj9tnm38bhmt28hb",
    "isin": "US0378331005",
    "symbol": "AAPL",
    "venue": "XNAS",
    "segment": "EQ",
    "name": "Apple Inc.",
    "currency": "USD",
    "price_exp": 4,
    "qty_exp": 0,
    "tick": "0.01",
    "lot": "1",
    "freeze_quantity": None,
    "listed_on": "1980-12-12",
    "delisted_on": None,
}


class InstrumentQuery(BaseModel):
    """Filters and the page of `GET /v1/instruments`."""

    model_config = ConfigDict(extra="forbid")

    symbol: str | None = Field(default=None, max_length=64, description="Exact symbol at the venue.")
    venue: str | None = Field(default=None, max_length=8, description="ISO 10383 code, such as XNSE or XNAS.")
    starting_after: str | None = Field(default=None, description="The id of the last instrument of the page before.")
    limit: int = Field(default=50, ge=1, le=100)


class InstrumentOut(BaseModel):
    """An instrument: identity and scale for life, the tick, lot and freeze quantity of now."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    isin: str
    symbol: str
    venue: str
    segment: str
    name: str
    currency: str
    price_exp: int = Field(description="Decimal places that prices are kept with; the tick is what orders obey.")
    qty_exp: int
    tick: str | None
    lot: str | None
    freeze_quantity: str | None
    listed_on: date | None
    delisted_on: date | None

    @classmethod
    def of(cls, view: InstrumentView) -> "InstrumentOut":
        rules = view.rules
        freeze = rules.freeze_quantity if rules else None
        return cls(
            id=encode_id(PREFIX, view.id),
            isin=view.isin,
            symbol=view.symbol,
            venue=view.venue,
            segment=view.segment,
            name=view.name,
            currency=view.currency,
            price_exp=view.price_exp,
            qty_exp=view.qty_exp,
            tick=format_trimmed(rules.tick, view.price_exp) if rules else None,
            lot=format_scaled(rules.lot, view.qty_exp) if rules else None,
            freeze_quantity=None if freeze is None else format_scaled(freeze, view.qty_exp),
            listed_on=view.listed_on,
            delisted_on=view.delisted_on,
        )


class InstrumentList(BaseModel):
    """One page of instruments, by id."""

    data: list[InstrumentOut]
    has_more: bool
