"""Decides what is told of backtests."""

from pydantic import Field

from app.kernel.events import Because, EventPayload, EventType, Sha256


class RunCreated(EventPayload):
    digest: Sha256 = Field(description="Of the compiled program.")


class RunSucceeded(EventPayload):
    sha256: Sha256 = Field(description="Of the result, as it is served.")


EVENTS = (
    EventType("backtest.created", "bkt", "A backtest was asked for.", RunCreated),
    EventType("backtest.succeeded", "bkt", "A backtest has its result.", RunSucceeded),
    EventType("backtest.failed", "bkt", "A backtest ended without a result.", Because),
    EventType("backtest.cancelled", "bkt", "A backtest was cancelled."),
)
