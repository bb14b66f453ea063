"""The rules that are installed, and the limits that a tenant sets for them."""

from functools import lru_cache
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from app.custody.accounts.service import get_account
from app.infra.database import Tx
from app.kernel.errors import invalid
from app.kernel.plugins import discover
from app.trading.risk import repository
from app.trading.risk.domain import AppliedLimit, Rule
from app.trading.risk.tables import RiskDecision


@lru_cache(maxsize=1)
def rules() -> dict[str, Rule]:
    """Every rule, by name."""
    return discover("app.trading.risk.rules")


async def limits(tx: Tx, account_id: UUID) -> list[AppliedLimit]:
    """What every rule applies to the account: its own limit, the tenant's or the rule's defaults, by rule.

    Raises `account_not_found`.
    """
    await get_account(tx, account_id)
    stored = {row.rule: row for row in await repository.limits(tx, account_id)}
    applied = []
    for name, rule in rules().items():
        row = stored.get(name)
        source = "default" if row is None else "tenant" if row.account_id is None else "account"
        parameters = rule.Parameters().model_dump(mode="json") if row is None else row.parameters
        applied.append(AppliedLimit(name, parameters, source))
    return applied


async def held_limit(tx: Tx, account_id: UUID, rule: str) -> AppliedLimit:
    """What the rule applies, and stays so until `tx` ends: whoever else sets a limit of the account waits.

    Raises `account_not_found`, `unknown_rule`.
    """
    _known(rule)
    await get_account(tx, account_id)
    await repository.decide_anew(tx, account_id)
    return await limit(tx, account_id, rule)


async def limit(tx: Tx, account_id: UUID, rule: str) -> AppliedLimit:
    """What one rule applies to the account. Raises `account_not_found`, `unknown_rule`."""
    _known(rule)
    return next(one for one in await limits(tx, account_id) if one.rule == rule)


async def set_limit(tx: Tx, account_id: UUID | None, rule: str, parameters: dict[str, Any]) -> AppliedLimit:
    """Set one rule's parameters for an account, or (None) for every account without limits of its own.

    Holds for every order that is decided from now on. Raises `account_not_found`, `unknown_rule`, `invalid_limit`
    naming the parameter.
    """
    if account_id is not None:
        await get_account(tx, account_id)
    known = _known(rule)
    try:
        checked = known.Parameters.model_validate(parameters).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(("parameters", *map(str, first["loc"])))
        raise invalid("invalid_limit", f"{rule}: {first['msg']}.", param=param) from None
    limit_id = await repository.upsert(tx, account_id, rule, checked)
    await repository.decide_anew(tx, account_id)
    tx.emit("risk_limit.set", limit_id, {"rule": rule, "parameters": checked}, account_id=account_id)
    return AppliedLimit(rule, checked, "tenant" if account_id is None else "account")


async def clear_limit(tx: Tx, account_id: UUID, rule: str) -> AppliedLimit:
    """Take back the account's own limit; answers what holds now. Raises `account_not_found`, `unknown_rule`."""
    before = await limits(tx, account_id)
    _known(rule)
    removed = await repository.remove(tx, account_id, rule)
    if removed is None:
        return next(one for one in before if one.rule == rule)
    await repository.decide_anew(tx, account_id)
    tx.emit("risk_limit.cleared", removed, {"rule": rule}, account_id=account_id)
    return await limit(tx, account_id, rule)


def _known(rule: str) -> Rule:
    found = rules().get(rule)
    if found is None:
        raise invalid("unknown_rule", f"No rule is named {rule[:64]!r}; rules are {', '.join(rules())}.", param="rule")
    return found


async def decision_findings(tx: Tx, order_id: UUID) -> list[dict[str, Any]]:
    """What every rule said of one order, with its figures."""
    decision = await tx.get(RiskDecision, order_id)
    return [] if decision is None else decision.findings
