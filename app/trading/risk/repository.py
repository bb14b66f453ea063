"""The statements of risk: limits and decisions."""

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, func, select

from app.infra.database import Tx
from app.kernel.ids import uuid7
from app.trading.risk.tables import RiskLimit


async def limits(tx: Tx, account_id: UUID) -> list[RiskLimit]:
    """The tenant's limits and the account's own, the tenant's first."""
    account = col(RiskLimit.account_id)
    statement = (
        select(RiskLimit)
        .where(col(RiskLimit.tenant_id) == tx.tenant_id, account.is_(None) | (account == account_id))
        .order_by(account.nulls_first())
    )
    return list((await tx.scalars(statement)).all())


async def upsert(tx: Tx, account_id: UUID | None, rule: str, parameters: dict[str, Any]) -> UUID:
    """The limit's id. Two that set it at once: the later commit stands."""
    statement = insert(RiskLimit).values(
        tenant_id=tx.tenant_id, id=uuid7(), account_id=account_id, rule=rule, parameters=parameters
    )
    replacing = statement.on_conflict_do_update(
        index_elements=["tenant_id", "account_id", "rule"],
        set_={"parameters": statement.excluded.parameters, "updated_at": func.clock_timestamp()},
    ).returning(col(RiskLimit.id))
    found: UUID = (await tx.scalars(replacing)).one()
    return found


async def remove(tx: Tx, account_id: UUID, rule: str) -> UUID | None:
    """The id of the limit that was removed."""
    statement = (
        delete(RiskLimit)
        .where(
            col(RiskLimit.tenant_id) == tx.tenant_id,
            col(RiskLimit.account_id) == account_id,
            col(RiskLimit.rule) == rule,
        )
        .returning(col(RiskLimit.id))
    )
    found: UUID | None = (await tx.scalars(statement)).one_or_none()
    return found


async def decide_anew(tx: Tx, account_id: UUID | None) -> None:
    """Orders that are being decided on what held before are decided again: of one account, or (None) of all."""
    await tx.execute(text("select accounts_advance_all(:account)"), {"account": account_id})
