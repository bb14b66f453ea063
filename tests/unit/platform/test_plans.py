"""Effective entitlements are plan + add-ons + overrides: what that means, for any plan."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.kernel.costs import CostClass
from app.kernel.errors import DomainError
from app.platform.plans.domain import (
    FEATURES,
    AddOn,
    Override,
    PlanTerms,
    QuotaName,
    RateTerms,
    Standing,
    check_override,
    effective,
    period_of,
    plan_with_feature,
    plan_with_more,
    quota_exceeded,
    resets_at,
    standing,
)
from tests.factories.plans import TERMS

NOW = datetime(2026, 1, 31, 9, 15, tzinfo=UTC)
LIMITS = st.none() | st.integers(0, 10**12)
FEATURE_SETS = st.frozensets(st.sampled_from(sorted(FEATURES)))
RATES = st.integers(1, 10_000).flatmap(
    lambda quota: st.builds(
        RateTerms, quota=st.just(quota), window_s=st.integers(1, 3_600), per_credential=st.integers(1, quota)
    )
)
ADD_ONS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.builds(
        AddOn,
        features=FEATURE_SETS,
        limits=st.dictionaries(st.sampled_from(list(QuotaName)), st.integers(1, 1_000), max_size=3),
    ),
)
PLANS = st.builds(
    PlanTerms,
    title=st.just("Plan"),
    rank=st.integers(0, 9),
    grace_days=st.integers(0, 90),
    features=FEATURE_SETS,
    limits=st.fixed_dictionaries(dict.fromkeys(QuotaName, LIMITS)),
    rates=st.fixed_dictionaries(dict.fromkeys(CostClass, RATES)),
    add_ons=ADD_ONS,
)
UNITS = st.dictionaries(st.sampled_from(["a", "b", "c", "unknown"]), st.integers(0, 20))


def _override(value: object, *, expires_at: datetime | None = None) -> Override:
    return Override.model_validate({"value": value, "reason": "a pilot", "expires_at": expires_at})


def _at_least(more: int | None, less: int | None) -> bool:
    return more is None or (less is not None and more >= less)


@given(PLANS)
def test_without_anything_else_a_tenant_has_its_plan(plan: PlanTerms) -> None:
    found = effective(plan, {}, {}, now=NOW)
    assert (found.features, found.limits, found.rates) == (plan.features, plan.limits, plan.rates)


@given(PLANS, UNITS)
def test_add_ons_never_take_anything_away(plan: PlanTerms, units: dict[str, int]) -> None:
    found = effective(plan, units, {}, now=NOW)
    assert found.features >= plan.features
    assert all(_at_least(found.limits[name], plan.limits[name]) for name in QuotaName)


@given(PLANS, UNITS)
def test_the_order_of_add_ons_is_no_matter(plan: PlanTerms, units: dict[str, int]) -> None:
    backwards = dict(reversed(units.items()))
    assert effective(plan, units, {}, now=NOW) == effective(plan, backwards, {}, now=NOW)


@given(PLANS, st.integers(0, 20), st.integers(0, 20), st.sampled_from(list(QuotaName)))
def test_units_add_up(plan: PlanTerms, first: int, second: int, name: QuotaName) -> None:
    step = plan.add_ons["a"].limits.get(name, 0) if "a" in plan.add_ons else 0
    had = plan.limits[name]
    found = effective(plan, {"a": first + second}, {}, now=NOW).limits[name]
    assert found == (None if had is None else had + step * first + step * second)


@given(PLANS, UNITS, LIMITS, st.sampled_from(list(QuotaName)))
def test_an_override_has_the_last_word_on_what_it_names_alone(
    plan: PlanTerms, units: dict[str, int], value: int | None, name: QuotaName
) -> None:
    before = effective(plan, units, {}, now=NOW)
    after = effective(plan, units, {f"limits.{name}": _override(value)}, now=NOW)
    assert after.limits == {**before.limits, name: value}
    assert (after.features, after.rates) == (before.features, before.rates)


@given(PLANS, UNITS, st.sampled_from(sorted(FEATURES)), st.booleans())
def test_an_override_gives_or_takes_a_feature(
    plan: PlanTerms, units: dict[str, int], feature: str, given_: bool
) -> None:
    before = effective(plan, units, {}, now=NOW)
    after = effective(plan, units, {f"features.{feature}": _override(given_)}, now=NOW)
    assert after.features == (before.features | {feature} if given_ else before.features - {feature})


@given(PLANS, UNITS, RATES, st.integers(-5, 5))
def test_an_override_ends_at_its_expiry(
    plan: PlanTerms, units: dict[str, int], rate: RateTerms, seconds_left: int
) -> None:
    override = _override(rate.model_dump(), expires_at=NOW + timedelta(seconds=seconds_left))
    found = effective(plan, units, {"rates.orders": override}, now=NOW)
    assert found.rates[CostClass.ORDERS] == (rate if seconds_left > 0 else plan.rates[CostClass.ORDERS])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limits.accounts", True),
        ("limits.nothing", 5),
        ("features.live_trading", 1),
        ("features.nothing", True),
        ("rates.orders", 5),
        ("rates.nothing", {"quota": 1, "window_s": 1, "per_credential": 1}),
        ("other.accounts", 5),
        ("accounts", 5),
    ],
)
def test_an_override_of_the_wrong_kind_is_refused(key: str, value: object) -> None:
    with pytest.raises(DomainError) as refused:
        check_override(key, _override(value))
    assert refused.value.code == "invalid_override"


def test_an_override_needs_a_reason() -> None:
    with pytest.raises(ValidationError, match="reason"):
        Override.model_validate({"value": 5, "reason": ""})


@pytest.mark.parametrize("part", ["limits", "rates"])
def test_a_plan_that_forgets_a_limit_or_a_rate_is_none(part: str) -> None:
    shortened = dict(list(TERMS[part].items())[1:])
    with pytest.raises(ValidationError, match="name a limit or rate for"):
        PlanTerms.model_validate({**TERMS, part: shortened})


def test_a_plan_with_an_unknown_feature_is_none() -> None:
    with pytest.raises(ValidationError, match="unknown features: flying"):
        PlanTerms.model_validate({**TERMS, "features": ["flying"]})


def test_a_credential_never_has_more_than_its_tenant() -> None:
    with pytest.raises(ValidationError, match="at most quota"):
        RateTerms(quota=5, window_s=1, per_credential=6)


def test_past_due_is_grace_first_and_read_only_after_it() -> None:
    since, until = NOW, NOW + timedelta(days=14)
    tick = timedelta(microseconds=1)
    assert standing(None, None, now=NOW) is Standing.GOOD
    assert standing(since, until, now=NOW) is Standing.GRACE
    assert standing(since, until, now=until - tick) is Standing.GRACE
    assert standing(since, until, now=until) is Standing.READ_ONLY


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_month_ends_when_the_next_one_begins(at: datetime) -> None:
    reset = resets_at(QuotaName.API_CALLS, now=at)
    assert reset is not None
    assert reset > at
    assert period_of(QuotaName.API_CALLS, now=reset) != period_of(QuotaName.API_CALLS, now=at)
    last = reset - timedelta(microseconds=1)
    assert period_of(QuotaName.API_CALLS, now=last) == period_of(QuotaName.API_CALLS, now=at)
    assert resets_at(QuotaName.ACCOUNTS, now=at) is None


def test_a_month_is_one_of_utc_wherever_the_caller_is() -> None:
    kolkata = datetime.fromisoformat("2026-02-01T05:00:00+05:30")
    assert period_of(QuotaName.BACKTEST_CELLS, now=kolkata) == "2026-01"


def _plan(rank: int, accounts: int | None, *features: str) -> PlanTerms:
    limits = {**TERMS["limits"], "accounts": accounts}
    return PlanTerms.model_validate({**TERMS, "rank": rank, "limits": limits, "features": list(features)})


def test_the_smallest_plan_that_has_more_is_named() -> None:
    offered = {"large": _plan(3, None), "same": _plan(2, 5), "middle": _plan(1, 6), "small": _plan(0, 5)}
    assert plan_with_more(offered, QuotaName.ACCOUNTS, 5) == "middle"
    assert plan_with_more(offered, QuotaName.ACCOUNTS, 6) == "large"
    assert plan_with_more({"small": _plan(0, 5)}, QuotaName.ACCOUNTS, 5) is None


def test_the_smallest_plan_that_has_a_feature_is_named() -> None:
    offered = {"large": _plan(3, 1, "live_trading"), "middle": _plan(1, 1, "live_trading"), "small": _plan(0, 1)}
    assert plan_with_feature(offered, "live_trading") == "middle"
    assert plan_with_feature(offered, "white_label") is None


def test_an_exceeded_quota_says_which_when_and_where_there_is_more() -> None:
    error = quota_exceeded(
        QuotaName.BACKTEST_CELLS,
        used=900,
        asked=200,
        limit=1_000,
        resets=resets_at(QuotaName.BACKTEST_CELLS, now=NOW),
        plan="developer",
    )
    assert (error.code, error.kind, error.param) == ("quota_exceeded", "limited", "backtest_cells")
    assert error.message == (
        "backtest_cells allows 1,000; 900 are used and this needs 200. It resets at 2026-02-01T00:00:00Z. "
        "The plan developer has more."
    )
