"""The part of a kill switch that is about orders: those that work are taken back, of one tenant or of all."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import select

from app.infra.database import Database, Tx
from app.kernel.orders import TERMINAL
from app.platform.tenancy.service import tenant_ids
from app.trading.orders.tables import Order
from app.trading.risk import service as risk
from app.trading.risk.domain import HaltMode, Target


async def halt_everything(
    database: Database, *, algo_id: str | None, mode: HaltMode, reason: str, now: datetime
) -> UUID:
    """The platform's own: of every tenant, or of an algo id wherever it trades. Nothing is sent from the first moment
    on; then tenant after tenant is told and has its working entries taken back."""
    halt_id = await risk.halt_platform(database.reference, algo_id=algo_id, mode=mode, reason=reason, now=now)
    for tenant_id in await tenant_ids(database):
        async with database.tx(tenant_id) as tx:
            await risk.tell_platform_halted(tx, halt_id, algo_id, mode=mode, reason=reason)
            if mode is HaltMode.HALT:
                await TenantOrders().take_back(tx, Target(algo_id=algo_id))
    return halt_id


async def resume_everything(database: Database, halt_id: UUID, *, now: datetime) -> None:
    """Lift one of the platform's halts. Raises `halt_not_found`."""
    await risk.resume_platform(database.reference, halt_id, now=now)
    for tenant_id in await tenant_ids(database):
        async with database.tx(tenant_id) as tx:
            risk.tell_platform_resumed(tx, halt_id)


class TenantOrders:
    """The tenant's working orders: risk's port `WorkingOrders`."""

    async def take_back(self, tx: Tx, target: Target) -> None:
        """All but those that only close what is held."""
        order = cast(Any, Order)
        statement = select(order.id, order.account_id).where(
            order.tenant_id == tx.tenant_id, order.status.not_in(sorted(TERMINAL)), order.reduces.is_(False)
        )
        wanted = [
            (order.mode, tx.principal.mode.value if tx.principal else None),
            (order.account_id, target.account_id),
            (order.deployment_id, target.deployment_id),
            (order.algo_id, target.algo_id),
        ]
        for column, value in wanted:
            if value is not None:
                statement = statement.where(column == value)
        found: Sequence[Any] = (await tx.execute(statement)).all()
        for order_id, account_id in found:
            tx.work("execution", "order.cancel", account_id, {"order_id": str(order_id)}, priority=0)
