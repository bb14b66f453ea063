"""The rules that are installed, and the limits that a tenant sets for them."""

from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from pydantic import ValidationError
from sqlmodel import col, select

from app.infra.database import Tx
from app.kernel.errors import invalid
from app.kernel.plugins import discover
from app.trading.risk.domain import Rule
from app.trading.risk.tables import RiskDecision, RiskLimit


@lru_cache(maxsize=1)
def rules() -> dict[str, Rule]:
    """Every rule, by name."""
    return discover("app.trading.risk.rules")


async def set_limit(tx: Tx, account_id: UUID | None, rule: str, parameters: dict[str, Any]) -> RiskLimit:
    """Set one rule's parameters for an account, or (None) for every account without limits of its own.

    Raises `unknown_rule`, `invalid_limit` naming the parameter.
    """
    known = rules().get(rule)
    if known is None:
        raise invalid("unknown_rule", f"No rule is named {rule[:64]!r}; rules are {', '.join(rules())}.", param="rule")
    try:
        checked = known.Parameters.model_validate(parameters).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        raise invalid("invalid_limit", f"{rule}: {first['msg']}", param=".".join(map(str, first["loc"]))) from None
    row = cast(RiskLimit | None, (await tx.scalars(_one(tx, account_id, rule))).one_or_none())
    if row is None:
        row = RiskLimit(tenant_id=tx.tenant_id, account_id=account_id, rule=rule, parameters=checked)
        tx.add(row)
    row.parameters = checked
    tx.emit("risk_limit.set", row.id, {"rule": rule, "parameters": checked}, account_id=account_id)
    await tx.flush()
    return row


def _one(tx: Tx, account_id: UUID | None, rule: str) -> Any:
    account = cast(Any, RiskLimit.account_id)
    return select(RiskLimit).where(
        col(RiskLimit.tenant_id) == tx.tenant_id,
        col(RiskLimit.rule) == rule,
        account.is_(None) if account_id is None else account == account_id,
    )


async def decision_findings(tx: Tx, order_id: UUID) -> list[dict[str, Any]]:
    """What every rule said of one order, with its figures."""
    decision = await tx.get(RiskDecision, order_id)
    return [] if decision is None else decision.findings
