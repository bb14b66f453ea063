"""Bars as the API shows them: close times in UTC, decimal strings."""

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from app.kernel.money import format_scaled, format_trimmed
from app.market.data.domain import Bars, from_us

_EXAMPLE: JsonDict = {
    "at": "2005-02-28T21:00:00Z",
    "open": "44.68",
    "high": "45.14",
    "low": "43.96",
    "close": "44.86",
    "volume": "11635900",
}


class BarQuery(BaseModel):
    """What `GET /v1/bars` takes. Times are RFC 3339 with an offset and name closes."""

    model_config = ConfigDict(extra="forbid")

    instrument_id: str
    interval: str = Field(default="1d", description="One of 1m, 5m, 15m, 1h, 1d.")
    start: AwareDatetime | None = Field(default=None, description="First close time, inclusive.")
    end: AwareDatetime | None = Field(default=None, description="Last close time, inclusive.")
    adjustment: Literal["raw", "split"] = Field(
        default="raw", description="`split` restates bars in the shares of `end`."
    )
    starting_after: AwareDatetime | None = Field(default=None, description="`at` of the last bar of the page before.")
    limit: int = Field(default=100, ge=1, le=1000)


class BarOut(BaseModel):
    """One bar, stamped by its close."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    at: datetime
    open: str
    high: str
    low: str
    close: str
    volume: str


class BarList(BaseModel):
    """One page of bars, oldest first."""

    data: list[BarOut]
    has_more: bool


def bars_out(bars: Bars) -> list[BarOut]:
    """The bars as response rows."""
    rows = zip(
        *(getattr(bars, name).tolist() for name in ("at_us", "open", "high", "low", "close", "volume")), strict=True
    )
    return [
        BarOut(
            at=from_us(at),
            open=format_trimmed(opened, bars.price_exp),
            high=format_trimmed(high, bars.price_exp),
            low=format_trimmed(low, bars.price_exp),
            close=format_trimmed(close, bars.price_exp),
            volume=format_scaled(volume, bars.qty_exp),
        )
        for at, opened, high, low, close, volume in rows
    ]
