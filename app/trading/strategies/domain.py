"""Decides what is told of strategies and deployments."""

from pydantic import Field

from app.kernel.events import EventPayload, EventType, Sha256, public_id


class StrategyCreated(EventPayload):
    name: str = Field(description="The strategy's name.")
    template: str | None = Field(description="The template it was made from; null for a program of your own.")
    digest: Sha256 = Field(description="Of the compiled program: what computes the same has the same.")


class DeploymentStarted(EventPayload):
    strategy_id: str = Field(description="The strategy that it runs.", pattern=public_id("str"))


class DeploymentPaused(EventPayload):
    reason: str | None = Field(default=None, description="Why, if it was not you: the error of the third failed bar.")


EVENTS = (
    EventType("strategy.created", "str", "A strategy was created.", StrategyCreated),
    EventType("deployment.started", "dep", "A strategy was deployed on an account.", DeploymentStarted),
    EventType("deployment.paused", "dep", "A deployment places no more orders until it is resumed.", DeploymentPaused),
    EventType("deployment.resumed", "dep", "A deployment goes on from the next bar."),
    EventType("deployment.stopped", "dep", "A deployment ended for good."),
)
