"""The events of risk: what was set, what was halted, who let it go on."""

from typing import Literal

from pydantic import Field

from app.kernel.events import EventPayload, EventType

_LEVEL = "`tenant`, `client`, `account` or `deployment`."


class LimitSet(EventPayload):
    rule: str = Field(description="The rule that the limit is for.")
    parameters: dict[str, str | int | bool | list[str] | None] = Field(
        description="The parameters that the level has from now on; what holds is the tightest of all levels."
    )
    level: str = Field(default="account", description=f"Who set it: {_LEVEL}")


class LimitCleared(EventPayload):
    rule: str = Field(description="The rule whose own limit was taken back.")
    level: str = Field(default="account", description=f"Whose limit it was: {_LEVEL}")


class Halted(EventPayload):
    level: str = Field(description="`platform`, `tenant`, `account`, `deployment` or `algo`.")
    mode: Literal["halt", "reduce_only"] = Field(description="`halt` also takes back the entries that work already.")
    reason: str = Field(description="Why.")
    account_id: str | None = Field(default=None, description="The account that may take no new risk.")
    deployment_id: str | None = Field(default=None, description="The deployment that may take no new risk.")
    algo_id: str | None = Field(default=None, description="The algo id whose orders may take no new risk.")


class Resumed(EventPayload):
    level: str = Field(description="`platform`, `tenant`, `account`, `deployment` or `algo`.")


EVENTS = (
    EventType("risk_limit.set", "lim", "A limit was set, for one account or, without one, for others.", LimitSet),
    EventType("risk_limit.cleared", "lim", "A level's own limit was taken back.", LimitCleared),
    EventType("risk.halted", "hlt", "New risk was stopped; exits and cancels still pass.", Halted),
    EventType("risk.resumed", "hlt", "A halt was lifted.", Resumed),
)
