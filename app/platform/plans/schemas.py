"""Entitlements and usage as the API shows them."""

from datetime import datetime

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.kernel.costs import CostClass
from app.platform.plans.domain import QuotaName, Standing
from app.platform.plans.service import Snapshot, Usage
from app.web.models import ApiModel

_USAGE: JsonDict = {
    "name": "backtest_cells",
    "period": "2026-01",
    "used": 2512,
    "limit": 1000000,
    "resets_at": "2026-02-01T00:00:00Z",
}


class RateOut(ApiModel):
    """Calls of one class: `quota` at once and as many again in `window_s` seconds, `per_credential` for each key."""

    quota: int = Field(description="Calls at once, of all credentials together.")
    window_s: int = Field(description="Seconds in which as many come again.")
    per_credential: int = Field(description="Calls at once of one credential.")


class OverrideOut(ApiModel):
    """An exception made for the tenant; it replaces what plan and add-ons say."""

    value: bool | int | RateOut | None
    reason: str = Field(description="Why it was made.")
    expires_at: datetime | None


class EntitlementsOut(ApiModel):
    """What the tenant may do: its plan, add-ons and overrides, and what they come to."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "plan": "developer",
                    "plan_version": 1,
                    "plan_title": "Developer",
                    "version": 3,
                    "standing": "good",
                    "past_due_since": None,
                    "read_only_at": None,
                    "features": ["live_trading", "paper_trading", "webhooks"],
                    "limits": {"accounts": 150, "api_calls": 100000000, "api_keys": None},
                    "rates": {"orders": {"quota": 12000, "window_s": 60, "per_credential": 12000}},
                    "add_ons": {"accounts": 2},
                    "overrides": {
                        "limits.accounts": {"value": 150, "reason": "pilot", "expires_at": "2026-12-31T00:00:00Z"}
                    },
                }
            ]
        }
    )

    plan: str = Field(description="The plan's short name.")
    plan_version: int = Field(description="Which version of the plan; a plan that changes gets another.")
    plan_title: str = Field(description="The plan's name for people.")
    version: int = Field(description="Grows with every change; 0 before the first.")
    standing: Standing = Field(description="`read_only`: you may read, cancel orders and close positions.")
    past_due_since: datetime | None = Field(description="Since when payment is late; null while it is not.")
    read_only_at: datetime | None = Field(description="When late payment makes the tenant read only; null otherwise.")
    features: list[str] = Field(description="What the tenant may use.")
    limits: dict[QuotaName, int | None] = Field(description="null is unlimited.")
    rates: dict[CostClass, RateOut] = Field(description="How many calls of each class.")
    add_ons: dict[str, int] = Field(description="What was bought besides the plan, and how often.")
    overrides: dict[str, OverrideOut] = Field(description="Exceptions, by what they replace.")

    @classmethod
    def of(cls, found: Snapshot) -> "EntitlementsOut":
        return cls(
            plan=found.plan_code,
            plan_version=found.plan_version,
            plan_title=found.plan.title,
            version=found.version,
            standing=found.standing,
            past_due_since=found.past_due_since,
            read_only_at=found.read_only_at,
            features=sorted(found.effective.features),
            limits=dict(found.effective.limits),
            rates={name: RateOut(**rate.model_dump()) for name, rate in found.effective.rates.items()},
            add_ons=dict(found.add_ons),
            overrides={key: OverrideOut.model_validate(one.model_dump()) for key, one in found.overrides.items()},
        )


class UsageOut(ApiModel):
    """How much of one quota is used."""

    model_config = ConfigDict(json_schema_extra={"examples": [_USAGE]})

    name: QuotaName
    period: str = Field(description="A month, UTC, or `standing` for what counts as long as it exists.")
    used: int = Field(description="API calls are written each second; everything else is exact.")
    limit: int | None = Field(description="null is unlimited.")
    resets_at: datetime | None = Field(description="When counting begins anew; null for what lasts.")

    @classmethod
    def of(cls, usage: Usage) -> "UsageOut":
        return cls(name=usage.name, period=usage.period, used=usage.used, limit=usage.limit, resets_at=usage.resets_at)


class UsageList(ApiModel):
    """Every quota of the plan."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": [_USAGE]}]})

    data: list[UsageOut]
