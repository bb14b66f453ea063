"""Decides what the web layer asks about a tenant before it serves a call. `main` injects the plans' answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from app.infra.buckets import Rate
from app.kernel.costs import CostClass


@dataclass(frozen=True, slots=True)
class ClassRates:
    """The rates of one class of calls: of the whole tenant, and of each of its credentials."""

    tenant: Rate
    credential: Rate


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a tenant may do now. `read_only`: it owes money for longer than its plan bears; exits stay open."""

    rates: Mapping[CostClass, ClassRates]
    read_only: bool


class Quotas(Protocol):
    """What tenants may do. Answers may be five seconds old."""

    async def allowance(self, tenant_id: UUID, *, now: datetime) -> Allowance:
        """The tenant's rates and standing."""
        ...

    def count_call(self, tenant_id: UUID, weight: int, *, now: datetime, refuse: bool) -> None:
        """Count a served call against the month. Raises `quota_exceeded` when `refuse` and nothing is left."""
        ...
