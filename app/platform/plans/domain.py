"""Decides what a plan entitles a tenant to: features, quotas and rates, with add-ons, overrides and missed payments."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from app.kernel.costs import CostClass
from app.kernel.errors import DomainError, Kind, invalid
from app.kernel.events import EventPayload, EventType
from app.kernel.orders import Mode


class QuotaName(StrEnum):
    """What a plan limits by number. Monthly ones begin again with each calendar month, UTC; the others are standing."""

    API_CALLS = "api_calls"
    BACKTEST_CELLS = "backtest_cells"
    ACCOUNTS = "accounts"
    DEPLOYMENTS = "deployments"
    API_KEYS = "api_keys"


MONTHLY = frozenset({QuotaName.API_CALLS, QuotaName.BACKTEST_CELLS})
STANDING = "standing"
"""The period of what is counted for as long as it exists."""

FEATURES: dict[str, str] = {
    "paper_trading": "Trade with virtual money.",
    "live_trading": "Trade at a broker with the tenant's own credentials.",
    "webhooks": "Receive events by HTTP.",
    "single_sign_on": "Sign members in through the tenant's identity provider.",
    "white_label": "Offer the platform under the tenant's own name.",
}
"""What a plan includes or not, with what it allows."""

PERMISSION_FEATURES: dict[tuple[str, Mode], str] = {
    ("accounts:write", Mode.LIVE): "live_trading",
    ("strategies:write", Mode.LIVE): "live_trading",
    ("accounts:write", Mode.TEST): "paper_trading",
    ("strategies:write", Mode.TEST): "paper_trading",
    ("webhooks:write", Mode.LIVE): "webhooks",
    ("webhooks:write", Mode.TEST): "webhooks",
}
"""The feature that a permission needs in a mode. Everything else is in every plan; so are orders, since whether one
enters or exits is decided with it: who lacks a feature has no account to enter with."""


class Terms(BaseModel):
    """Base of what plans, add-ons and overrides are made of: unknown fields are errors, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RateTerms(Terms):
    """Calls of one class: `quota` in `window_s` for the tenant, `per_credential` of them for each key or client."""

    quota: Annotated[StrictInt, Field(ge=1, le=10_000_000)]
    window_s: Annotated[StrictInt, Field(ge=1, le=3_600)]
    per_credential: Annotated[StrictInt, Field(ge=1, le=10_000_000)]

    @model_validator(mode="after")
    def _credential_within_tenant(self) -> Self:
        if self.per_credential > self.quota:
            raise ValueError("per_credential must be at most quota")
        return self


def _known(features: frozenset[str]) -> frozenset[str]:
    unknown = sorted(features - FEATURES.keys())
    if unknown:
        raise ValueError(f"unknown features: {', '.join(unknown)}")
    return features


Features = Annotated[frozenset[str], AfterValidator(_known)]


class AddOn(Terms):
    """What one unit of an add-on gives on top of a plan."""

    features: Features = frozenset()
    limits: dict[QuotaName, Annotated[StrictInt, Field(ge=1)]] = {}


class PlanTerms(Terms):
    """One version of a plan. Every limit and rate is named: `null` is unlimited, and nothing is so by being forgotten.

    `rank` sorts plans from the smallest to the largest; `grace_days` passes between a missed payment and read-only.
    """

    title: str
    rank: StrictInt
    grace_days: Annotated[StrictInt, Field(ge=0, le=90)]
    features: Features
    limits: dict[QuotaName, Annotated[StrictInt, Field(ge=0)] | None]
    rates: dict[CostClass, RateTerms]
    add_ons: dict[str, AddOn] = {}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [*(set(QuotaName) - self.limits.keys()), *(set(CostClass) - self.rates.keys())]
        if missing:
            raise ValueError(f"name a limit or rate for {', '.join(sorted(missing))}")
        return self


class Override(Terms):
    """An exception for one tenant: it replaces what plan and add-ons say, until `expires_at` (null: for good)."""

    value: StrictBool | Annotated[StrictInt, Field(ge=0)] | RateTerms | None
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    expires_at: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class Effective:
    """What a tenant has: plan + add-ons, then overrides. A limit of None is unlimited."""

    features: frozenset[str]
    limits: Mapping[QuotaName, int | None]
    rates: Mapping[CostClass, RateTerms]


def effective(
    plan: PlanTerms, add_ons: Mapping[str, int], overrides: Mapping[str, Override], *, now: datetime
) -> Effective:
    """`plan` + units of its add-ons, then the overrides in force. An add-on that it does not offer gives nothing."""
    features, limits, rates = set(plan.features), dict(plan.limits), dict(plan.rates)
    for name, units in add_ons.items():
        offered = plan.add_ons.get(name)
        if offered is None or units < 1:
            continue
        features |= offered.features
        for quota, more in offered.limits.items():
            had = limits[quota]
            limits[quota] = None if had is None else had + more * units
    for key, override in overrides.items():
        if override.expires_at is not None and override.expires_at <= now:
            continue
        kind, _, name = key.partition(".")
        value = override.value
        if kind == "features" and isinstance(value, bool):
            features = features | {name} if value else features - {name}
        elif kind == "rates" and isinstance(value, RateTerms):
            rates[CostClass(name)] = value
        elif kind == "limits" and not isinstance(value, (bool, RateTerms)):
            limits[QuotaName(name)] = value
    return Effective(frozenset(features), limits, rates)


def check_override(key: str, override: Override) -> None:
    """Raises `invalid_override` unless `key` is `features.…`, `limits.…` or `rates.…` and the value is of its kind."""
    kind, _, name = key.partition(".")
    value = override.value
    fits = {
        "features": name in FEATURES and isinstance(value, bool),
        "limits": name in set(QuotaName) and not isinstance(value, (bool, RateTerms)),
        "rates": name in set(CostClass) and isinstance(value, RateTerms),
    }
    if not fits.get(kind, False):
        raise invalid(
            "invalid_override",
            f"{key[:64]!r} takes another value: features.<name> true or false, limits.<name> a number or null, "
            "rates.<class> quota, window_s and per_credential.",
            param="key",
        )


class Standing(StrEnum):
    """How a tenant stands with its payments. None of them keeps it from cancelling orders and closing positions."""

    GOOD = "good"
    GRACE = "grace"
    READ_ONLY = "read_only"


def standing(past_due_since: datetime | None, read_only_at: datetime | None, *, now: datetime) -> Standing:
    """Paid up; past due within the plan's grace; past due beyond it."""
    if past_due_since is None or read_only_at is None or now < past_due_since:
        return Standing.GOOD
    return Standing.GRACE if now < read_only_at else Standing.READ_ONLY


def period_of(name: QuotaName, *, now: datetime) -> str:
    """The period that usage at `now` counts in: `2026-01`, UTC, or `standing`."""
    if name not in MONTHLY:
        return STANDING
    at = now if now.tzinfo is UTC else now.astimezone(UTC)
    return _month(at.year, at.month)


@lru_cache(maxsize=16)
def _month(year: int, month: int) -> str:
    return f"{year:04}-{month:02}"


def resets_at(name: QuotaName, *, now: datetime) -> datetime | None:
    """When usage begins again at zero; None for what is counted as long as it exists."""
    if name not in MONTHLY:
        return None
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)


def plan_with_more(offered: Mapping[str, PlanTerms], name: QuotaName, limit: int) -> str | None:
    """The smallest plan on offer that has more of `name` than `limit`."""
    bigger = [(terms.rank, code) for code, terms in offered.items() if _more(terms.limits[name], limit)]
    return min(bigger)[1] if bigger else None


def _more(offered: int | None, limit: int) -> bool:
    return offered is None or offered > limit


def plan_with_feature(offered: Mapping[str, PlanTerms], feature: str) -> str | None:
    """The smallest plan on offer that has `feature`."""
    having = [(terms.rank, code) for code, terms in offered.items() if feature in terms.features]
    return min(having)[1] if having else None


def feature_missing(plan: str, feature: str, having: str | None) -> DomainError:
    """The refusal for a feature that a tenant lacks."""
    remedy = f"the plan {having} has it" if having else "ask us for it"
    return DomainError(
        "feature_not_in_plan", Kind.FORBIDDEN, f"The plan {plan} does not include {feature}: {remedy}.", param=feature
    )


def quota_exceeded(
    name: QuotaName, *, used: int, asked: int, limit: int, resets: datetime | None, plan: str | None
) -> DomainError:
    """The refusal for a quota, naming it, its limit, when it resets, and the plan that has more."""
    when = f"It resets at {resets:%Y-%m-%dT%H:%M:%SZ}." if resets else "It does not reset: remove one that you have."
    more = f" The plan {plan} has more." if plan else " No plan has more: ask us for a limit of your own."
    return DomainError(
        "quota_exceeded",
        Kind.LIMITED,
        f"{name} allows {limit:,}; {used:,} are used and this needs {asked:,}. {when}{more}",
        param=name.value,
    )


class EntitlementsChanged(EventPayload):
    version: int = Field(description="The number of this change: each is one more than the one before.")
    what: str = Field(description="`plan`, `standing`, or the add-on or override that changed.")
    to: str = Field(description="What it is now.")
    reason: str = Field(description="Why, in a few words.")


EVENTS = (EventType("entitlements.changed", "ten", "What the tenant is entitled to changed.", EntitlementsChanged),)
