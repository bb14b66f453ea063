"""Decides whether a tenant may have one more of what its plan counts, in the transaction that makes it.

The counter's row is locked until that transaction ends: the count is exact, whatever runs at the same time, and a
rollback takes it back. What lasts (accounts, deployments, keys) is released by whoever ends it.
"""

from dataclasses import dataclass
from datetime import datetime

from app.infra.database import Tx
from app.platform.plans import repository
from app.platform.plans.domain import (
    MONTHLY,
    STANDING,
    QuotaName,
    period_of,
    plan_with_more,
    quota_exceeded,
    resets_at,
)
from app.platform.plans.service.entitlements import Snapshot, entitlements


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a quota is used in its present period. `limit` None: unlimited; `resets_at` None: it lasts."""

    name: QuotaName
    period: str
    used: int
    limit: int | None
    resets_at: datetime | None


async def consume(tx: Tx, name: QuotaName, amount: int = 1, *, now: datetime | None = None) -> None:
    """Use up `amount`, or raise `quota_exceeded` naming quota, limit, reset and the plan that has more.

    `now` dates the month; by default it is the database's clock, never the market's. Not for cancels and exits.
    """
    if amount < 1:
        raise ValueError(f"cannot consume {amount} of {name}")
    snapshot = await entitlements(tx, now=now)
    limit = snapshot.effective.limits[name]
    if not await repository.consume(tx, period_of(name, now=snapshot.at), name, amount, limit):
        raise exceeded(await entitlements(tx, now=snapshot.at), name, amount)


async def release(tx: Tx, name: QuotaName, amount: int = 1) -> None:
    """Give back what `consume` took, in the transaction that ends it. Only for what is counted as long as it exists."""
    if name in MONTHLY:
        raise ValueError(f"{name} is used up by the month and never given back")
    await repository.release(tx, STANDING, name, amount)


def exceeded(snapshot: Snapshot, name: QuotaName, amount: int, *, used: int | None = None) -> Exception:
    """The error of a quota that has not `amount` left."""
    limit = snapshot.effective.limits[name]
    assert limit is not None
    return quota_exceeded(
        name,
        used=snapshot.used.get(name, 0) if used is None else used,
        asked=amount,
        limit=limit,
        resets=resets_at(name, now=snapshot.at),
        plan=plan_with_more(snapshot.offered, name, limit),
    )


def usage_of(snapshot: Snapshot) -> list[Usage]:
    """Every quota with what is used of it."""
    at = snapshot.at
    return [
        Usage(
            name=name,
            period=period_of(name, now=at),
            used=snapshot.used.get(name, 0),
            limit=snapshot.effective.limits[name],
            resets_at=resets_at(name, now=at),
        )
        for name in QuotaName
    ]
