"""Decides what is told of positions: what corporate actions did to them. Fills are told of their orders."""

from pydantic import Field

from app.kernel.events import DecimalText, EventPayload, EventType


class PositionSplit(EventPayload):
    numerator: int = Field(description="So many new units …")
    denominator: int = Field(description="… for so many old ones.")


class DividendPaid(EventPayload):
    cash: DecimalText = Field(description="What was paid, in the account's currency.")


EVENTS = (
    EventType("position.split", "pos", "A split changed a position.", PositionSplit),
    EventType("position.dividend", "pos", "A dividend was paid on a position.", DividendPaid),
)
