"""Decides what a tenant is entitled to now, and how that is changed: by the operator and by billing, never by a route.

Every change makes a new version of the tenant's row and an event with its reason. Other processes obey it within five
seconds (`TenantQuotas`); what is counted in a transaction, and orders, obey it at once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind, invalid
from app.platform.plans import repository
from app.platform.plans.domain import (
    Effective,
    Override,
    PlanTerms,
    QuotaName,
    Standing,
    check_override,
    effective,
    feature_missing,
    plan_with_feature,
    standing,
)
from app.platform.plans.tables import Entitlements

_OVERRIDES = TypeAdapter(dict[str, Override])
_ADD_ONS = TypeAdapter(dict[str, int])
_TIME = TypeAdapter(datetime)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tenant's entitlements at `at`. `version` is 0 for a tenant that was never given any; `used` by quota."""

    at: datetime
    plan_code: str
    plan_version: int
    plan: PlanTerms
    version: int
    add_ons: Mapping[str, int]
    overrides: Mapping[str, Override]
    effective: Effective
    standing: Standing
    past_due_since: datetime | None
    read_only_at: datetime | None
    used: Mapping[QuotaName, int]
    offered: Mapping[str, PlanTerms]

    def refusal(self, feature: str) -> DomainError | None:
        """`feature_not_in_plan`, naming the plan that has it; None for a feature that the tenant has."""
        if feature in self.effective.features:
            return None
        return feature_missing(self.plan_code, feature, plan_with_feature(self.offered, feature))


@lru_cache(maxsize=256)
def _terms(document: str) -> PlanTerms:
    """Plan versions never change, so each is checked once in a process."""
    return PlanTerms.model_validate_json(document)


def read_snapshot(document: str) -> Snapshot:
    """The snapshot that `plans_entitlements` describes. Raises ValueError for a plan that is none."""
    found: dict[str, Any] = json.loads(document)
    own, plan, at = found["own"] or {}, found["plan"], _TIME.validate_python(found["at"])
    terms = _terms(plan["terms"])
    add_ons = _ADD_ONS.validate_python(own.get("add_ons", {}))
    overrides = _OVERRIDES.validate_json(json.dumps(own.get("overrides", {})))
    since, read_only = (_time(own.get(name)) for name in ("past_due_since", "read_only_at"))
    return Snapshot(
        at=at,
        plan_code=plan["code"],
        plan_version=plan["version"],
        plan=terms,
        version=own.get("version", 0),
        add_ons=add_ons,
        overrides=overrides,
        effective=effective(terms, add_ons, overrides, now=at),
        standing=standing(since, read_only, now=at),
        past_due_since=since,
        read_only_at=read_only,
        used={QuotaName(name): used for name, used in found["used"].items() if name in set(QuotaName)},
        offered={code: _terms(one) for code, one in found["offered"].items()},
    )


def _time(value: str | None) -> datetime | None:
    return None if value is None else _TIME.validate_python(value)


async def entitlements(tx: Tx, *, now: datetime | None = None) -> Snapshot:
    """What the transaction's tenant is entitled to, read in the transaction. `now` by default is the database's."""
    return read_snapshot(await repository.own_entitlements_document(tx, now))


async def assign_plan(tx: Tx, code: str, *, reason: str, now: datetime, version: int | None = None) -> Entitlements:
    """Give the tenant a version of a plan, by default the newest; the rest stays. Raises `plan_not_found`."""
    plan = await repository.plan_version(tx, code, version, now)
    if plan is None:
        offered = sorted((terms.rank, name) for name, terms in (await entitlements(tx, now=now)).offered.items())
        which = repr(code[:64]) if version is None else f"{code[:64]!r} version {version}"
        names = ", ".join(name for _, name in offered)
        raise DomainError(
            "plan_not_found", Kind.NOT_FOUND, f"No plan is called {which}; plans are {names}.", param="plan"
        )
    row = await _own(tx, now=now)
    row.plan_code, row.plan_version = plan.code, plan.version
    return await _changed(tx, row, "plan", f"{plan.code} {plan.version}", reason, now=now)


async def set_add_on(tx: Tx, name: str, units: int, *, reason: str, now: datetime) -> Entitlements:
    """Give so many units of an add-on, 0 for none. Raises `unknown_add_on`, `invalid_units`."""
    if units < 0:
        raise invalid("invalid_units", "units must be zero or more.", param="units")
    row = await _own(tx, now=now)
    offered = (await entitlements(tx, now=now)).plan.add_ons
    if units and name not in offered:
        names = ", ".join(sorted(offered)) or "none"
        raise invalid(
            "unknown_add_on", f"The plan {row.plan_code} offers no {name[:64]!r}; it has {names}.", param="name"
        )
    kept = {key: value for key, value in row.add_ons.items() if key != name}
    row.add_ons = kept | ({name: units} if units else {})
    return await _changed(tx, row, f"add_ons.{name}", str(units), reason, now=now)


async def set_override(tx: Tx, key: str, override: Override | None, *, reason: str, now: datetime) -> Entitlements:
    """Replace what the plan says of `limits.<name>`, `features.<name>` or `rates.<class>`; None: no longer.

    Raises `invalid_override`, `override_not_set`.
    """
    if override is not None:
        check_override(key, override)
    row = await _own(tx, now=now)
    if override is None and key not in row.overrides:
        names = ", ".join(sorted(row.overrides)) or "none"
        raise invalid("override_not_set", f"{key[:64]!r} is not overridden; overridden are {names}.", param="key")
    kept = {name: value for name, value in row.overrides.items() if name != key}
    row.overrides = kept | ({key: override.model_dump(mode="json")} if override else {})
    return await _changed(tx, row, key, "set" if override else "cleared", reason, now=now)


async def mark_past_due(tx: Tx, since: datetime, *, now: datetime) -> Entitlements:
    """A payment is missing since then: grace as the plan says, then read-only. A second time changes nothing."""
    row = await _own(tx, now=now)
    if row.past_due_since is not None:
        return row
    grace = timedelta(days=(await entitlements(tx, now=now)).plan.grace_days)
    row.past_due_since, row.read_only_at = since, since + grace
    return await _changed(tx, row, "standing", "past_due", "payment missing", now=now)


async def mark_paid(tx: Tx, *, now: datetime) -> Entitlements:
    """Nothing is owed. Ends grace and read-only at once."""
    row = await _own(tx, now=now)
    if row.past_due_since is None:
        return row
    row.past_due_since = row.read_only_at = None
    return await _changed(tx, row, "standing", "good", "paid", now=now)


async def _own(tx: Tx, *, now: datetime) -> Entitlements:
    """The tenant's row, locked; made of what it has by default when there is none."""
    row = await repository.locked_entitlements(tx)
    if row is None:
        default = await entitlements(tx, now=now)
        await repository.insert_entitlements(tx, default.plan_code, default.plan_version, now)
        row = await repository.locked_entitlements(tx)
    assert row is not None
    return row


async def _changed(tx: Tx, row: Entitlements, what: str, to: str, reason: str, *, now: datetime) -> Entitlements:
    row.version += 1
    row.updated_at = now
    data = {"version": row.version, "what": what, "to": to, "reason": reason}
    tx.emit("entitlements.changed", tx.tenant_id, data)
    await tx.flush()
    return row
