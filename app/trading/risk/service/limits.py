"""The rules that are installed, the limits that each level sets for them, and what of all that holds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import BaseModel, ValidationError

from app.custody.accounts.service import check_mode_of_all, get_account, get_client
from app.infra.database import Database, Tx
from app.kernel.errors import invalid
from app.kernel.plugins import discover
from app.platform.tenancy.service import tenant_ids
from app.trading.risk import repository
from app.trading.risk.domain import AppliedLimit, Limits, Rule, Sets, applied, loosened
from app.trading.risk.ports import Deployments
from app.trading.risk.tables import RiskDecision

LEVELS = ("platform", "tenant", "client", "account", "deployment")
"""From the outside in."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose orders a limit is for, and who is above: no id, all of the tenant's; else those of the innermost id."""

    client_id: UUID | None = None
    account_id: UUID | None = None
    deployment_id: UUID | None = None

    @property
    def level(self) -> str:
        if self.deployment_id is not None:
            return "deployment"
        if self.account_id is not None:
            return "account"
        return "tenant" if self.client_id is None else "client"


TENANT = Scope()


async def client_scope(tx: Tx, client_id: UUID) -> Scope:
    """Raises `client_not_found`."""
    await get_client(tx, client_id)
    return Scope(client_id=client_id)


async def account_scope(tx: Tx, account_id: UUID, deployment_id: UUID | None = None) -> Scope:
    """Raises `account_not_found`."""
    account = await get_account(tx, account_id)
    return Scope(account.client_id, account_id, deployment_id)


async def deployment_scope(tx: Tx, deployment_id: UUID, deployments: Deployments) -> Scope:
    """Raises `deployment_not_found`."""
    return await account_scope(tx, await deployments.account_of(tx, deployment_id), deployment_id)


@lru_cache(maxsize=1)
def rules() -> dict[str, Rule]:
    """Every rule, by name."""
    return discover("app.trading.risk.rules")


@lru_cache(maxsize=4096)
def effective(stored: str) -> Limits:
    """The parameters that hold where the levels say `stored`, the text that `risk_limits_for` makes; every rule's."""
    said: dict[str, Sets] = json.loads(stored)
    return {name: applied(rule, said.get(name, ())).parameters for name, rule in rules().items()}


def said_at(level: str, stored: str, names: Sequence[str]) -> Limits:
    """What one level itself says of the rules `names`, where it does; None where the rule cannot read it."""
    said: dict[str, Sets] = json.loads(stored)
    own: dict[str, BaseModel | None] = {}
    for name in names:
        if any(of == level for of, _ in said.get(name, ())):
            rule, sets = rules()[name], [one for one in said[name] if one[0] == level]
            own[name] = applied(rule, sets).parameters
    return own


async def limits(tx: Tx, scope: Scope) -> list[AppliedLimit]:
    """What every rule applies within the scope, by rule."""
    said = await repository.limits_for(tx, scope.client_id, scope.account_id, scope.deployment_id)
    return [applied(rule, said.get(name, ()), level=scope.level) for name, rule in rules().items()]


async def limit(tx: Tx, scope: Scope, rule: str) -> AppliedLimit:
    """What one rule applies within the scope. Raises `unknown_rule`."""
    _known(rule)
    return next(one for one in await limits(tx, scope) if one.rule == rule)


async def held_limit(tx: Tx, scope: Scope, rule: str) -> AppliedLimit:
    """What the rule applies, and stays so until `tx` ends: whoever else sets a limit of its accounts waits.

    Raises `unknown_rule`.
    """
    _known(rule)
    await repository.decide_anew(tx, scope.account_id)
    return await limit(tx, scope, rule)


async def set_limit(tx: Tx, scope: Scope, rule: str, parameters: Mapping[str, Any]) -> AppliedLimit:
    """Set one rule's parameters for a level; it may only tighten what holds above it.

    Holds for every order that is decided from now on. Raises `unknown_rule`, `invalid_limit` naming the parameter,
    `limit_looser_than_parent` with both figures, `live_key_needed`.
    """
    known = _known(rule)
    checked = _checked(known, parameters)
    await _check_mode(tx, scope)
    await repository.decide_anew(tx, scope.account_id)  # first: no level above can be loosened or set meanwhile
    said = await repository.limits_for(tx, scope.client_id, scope.account_id, scope.deployment_id)
    above = [one for one in said.get(rule, ()) if LEVELS.index(one[0]) < LEVELS.index(scope.level)]
    _check_tighter(known, above, checked)
    stated = checked.model_dump(mode="json")
    limit_id = await repository.upsert(tx, scope.client_id, scope.account_id, scope.deployment_id, rule, stated)
    event = {"rule": rule, "parameters": stated, "level": scope.level}
    tx.emit("risk_limit.set", limit_id, event, account_id=scope.account_id)
    return await limit(tx, scope, rule)


async def clear_limit(tx: Tx, scope: Scope, rule: str) -> AppliedLimit:
    """Take back the level's own limit; answers what holds now. Raises `unknown_rule`, `live_key_needed`."""
    _known(rule)
    await _check_mode(tx, scope)
    await repository.decide_anew(tx, scope.account_id)
    removed = await repository.remove(tx, scope.deployment_id or scope.account_id or scope.client_id, rule)
    if removed is not None:
        tx.emit("risk_limit.cleared", removed, {"rule": rule, "level": scope.level}, account_id=scope.account_id)
    return await limit(tx, scope, rule)


async def platform_limits(reference: asyncpg.Pool) -> list[AppliedLimit]:
    """What the platform has set, or each rule's defaults."""
    stored = await repository.platform_limits(reference)
    return [
        applied(rule, [("platform", stored[name])] if name in stored else (), level="platform")
        for name, rule in rules().items()
    ]


async def set_platform_limit(database: Database, rule: str, parameters: Mapping[str, Any] | None) -> None:
    """Set (None: clear) what no tenant may exceed. When it returns, no order that was decided before can be written.

    Raises `unknown_rule`, `invalid_limit`.
    """
    known = _known(rule)
    stated = None if parameters is None else _checked(known, parameters).model_dump(mode="json")
    await repository.set_platform_limit(database.reference, rule, stated)
    for tenant_id in await tenant_ids(database):
        async with database.tx(tenant_id) as tx:
            await repository.decide_anew(tx, None)


async def _check_mode(tx: Tx, scope: Scope) -> None:
    if scope.account_id is None:
        await check_mode_of_all(tx)


def _checked(rule: Rule, parameters: Mapping[str, Any]) -> BaseModel:
    try:
        return rule.Parameters.model_validate(parameters)
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(("parameters", *map(str, first["loc"])))
        raise invalid("invalid_limit", f"{rule.name}: {first['msg']}.", param=param) from None


def _check_tighter(rule: Rule, above: Sets, stated: BaseModel) -> None:
    holds = applied(rule, above)
    if not above or holds.parameters is None:
        return
    found = loosened(rule, holds.parameters, stated)
    if found is not None:
        raise invalid(
            "limit_looser_than_parent",
            f"{rule.name}: {found.parameter} {_shown(found.asked)} is looser than {_shown(found.parent)}, which the "
            f"{holds.source} has set, and a level may only tighten: set {_shown(found.parent)} or tighter.",
            param=f"parameters.{found.parameter}",
        )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return "null" if value is None else str(value)


def _known(rule: str) -> Rule:
    found = rules().get(rule)
    if found is None:
        raise invalid("unknown_rule", f"No rule is named {rule[:64]!r}; rules are {', '.join(rules())}.", param="rule")
    return found


async def decision_findings(tx: Tx, order_id: UUID) -> list[dict[str, Any]]:
    """What every rule said of one order, with its figures."""
    decision = await tx.get(RiskDecision, order_id)
    return [] if decision is None else decision.findings
