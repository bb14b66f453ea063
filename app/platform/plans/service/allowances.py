"""Decides what the gateway knows of tenants without asking at every call. Implements `web.quotas`'s `Quotas`.

Entitlements are at most `CACHE_SECONDS` old; those of tenants who call are read anew before, many in one question, for
which no request waits. API calls are counted in memory and written each `FLUSH_SECONDS`: a
process that is killed loses the calls of its last second, and gateways may together let through what they served since
their last writes. A write whose answer was lost is repeated, so it may count twice; nothing else is ever counted twice.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from app.infra.buckets import Rate
from app.infra.database import Database
from app.infra.waiting import set_within
from app.kernel.errors import DomainError
from app.kernel.orders import Mode
from app.platform.plans import repository
from app.platform.plans.domain import PERMISSION_FEATURES, QuotaName, RateTerms, Standing, period_of
from app.platform.plans.service.entitlements import Snapshot, read_snapshot
from app.platform.plans.service.quotas import exceeded
from app.web.quotas import Allowance, ClassRates

CACHE_SECONDS = 5.0
CACHE_TENANTS = 10_000
FLUSH_SECONDS = 1.0
REFRESHED = 100
"""Read in one question."""

REMEMBERED = 20
"""Of those, how many are taken in at once: a millisecond, in which nobody else is served. One by one they would wait
each time for all who are served; what is too old by then, its requests ask for by themselves."""

FLUSH_TENANTS = 500
"""Written in one transaction, which locks their counters as long."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Known:
    """`asked`: it was asked for again since it was read."""

    until: float
    snapshot: Snapshot
    allowance: Allowance
    asked: bool = False


class TenantQuotas:
    """Snapshots by tenant, and the calls that were served but not yet written."""

    def __init__(self, database: Database, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic
        self._known: dict[UUID, _Known] = {}
        self._written: dict[repository.Period, int] = {}
        self._served: dict[repository.Period, int] = {}

    async def allowance(self, tenant_id: UUID, *, now: datetime) -> Allowance:
        """The tenant's rates and standing."""
        return (await self._ask(tenant_id, now=now)).allowance

    async def refusal(self, tenant_id: UUID, permission: str, mode: Mode, *, now: datetime) -> DomainError | None:
        """`feature_not_in_plan` when the plan lacks what `permission` needs in `mode`. Implements tenancy's port."""
        feature = PERMISSION_FEATURES.get((permission, mode))
        return None if feature is None else (await self._ask(tenant_id, now=now)).snapshot.refusal(feature)

    def count_call(self, tenant_id: UUID, weight: int, *, now: datetime, refuse: bool) -> None:
        """Count a call of a tenant whose `allowance` was asked just before. Raises `quota_exceeded` when `refuse`."""
        period = (tenant_id, period_of(QuotaName.API_CALLS, now=now))
        used = self._written.get(period, 0) + self._served.get(period, 0)
        known = self._known.get(tenant_id)
        limit = known.snapshot.effective.limits[QuotaName.API_CALLS] if known else None
        if known and refuse and limit is not None and used + weight > limit:
            raise exceeded(known.snapshot, QuotaName.API_CALLS, weight, used=used)
        self._served[period] = self._served.get(period, 0) + weight

    async def _ask(self, tenant_id: UUID, *, now: datetime) -> _Known:
        known = self._known.get(tenant_id)
        asked = self._monotonic()
        if known is not None and asked < known.until:
            known.asked = True
            return known
        document = await repository.entitlements_document(self._database.pool, tenant_id, now)
        return self._remember(tenant_id, document, read_at=asked)

    def _remember(self, tenant_id: UUID, document: str, *, read_at: float) -> _Known:
        snapshot = read_snapshot(document)
        rates = {name: _rates(terms) for name, terms in snapshot.effective.rates.items()}
        known = _Known(read_at + CACHE_SECONDS, snapshot, Allowance(rates, snapshot.standing is Standing.READ_ONLY))
        self._known.pop(tenant_id, None)
        while len(self._known) >= CACHE_TENANTS:
            del self._known[next(iter(self._known))]
        self._known[tenant_id] = known
        period = (tenant_id, period_of(QuotaName.API_CALLS, now=snapshot.at))
        self._written[period] = max(self._written.get(period, 0), snapshot.used.get(QuotaName.API_CALLS, 0))
        return known

    async def refresh(self) -> None:
        """Read what is asked for anew before it is too old."""
        now = self._monotonic()
        soon = now + 1.5 * FLUSH_SECONDS
        due = [(tenant, known) for tenant, known in self._known.items() if known.asked and now < known.until <= soon]
        for start in range(0, len(due), REFRESHED):
            some = dict(due[start : start + REFRESHED])
            read_at = self._monotonic()
            found = await repository.entitlements_documents(self._database.pool, list(some))
            for place, (tenant_id, document) in enumerate(found.items(), start=1):
                if self._known.get(tenant_id) is some[tenant_id]:  # it was not asked for meanwhile
                    self._remember(tenant_id, document, read_at=read_at)
                if place % REMEMBERED == 0:
                    await asyncio.sleep(0)

    def unwritten(self, tenant_id: UUID) -> int:
        """How many of the tenant's calls are counted here alone."""
        return sum(served for (owner, _), served in self._served.items() if owner == tenant_id)

    async def flush(self) -> None:
        """Write what was served. What could not be written is kept for the next time."""
        present = list(self._served.items())
        for start in range(0, len(present), FLUSH_TENANTS):
            served = dict(present[start : start + FLUSH_TENANTS])
            used = await repository.count_usage(self._database.pool, QuotaName.API_CALLS, served)
            for period, calls in served.items():
                self._served[period] -= calls
                if not self._served[period]:
                    del self._served[period]
                self._written[period] = max(self._written.get(period, 0), used[period])
        for period in [one for one in self._written if one[0] not in self._known and one not in self._served]:
            del self._written[period]

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: flush and refresh every `FLUSH_SECONDS`, and flush once at the end."""
        while not stop.is_set():
            await set_within(stop, FLUSH_SECONDS)
            try:
                await self.flush()
            except Exception as error:
                log.warning("plans.usage_not_written", error=repr(error))
            try:
                await self.refresh()
            except Exception as error:
                log.warning("plans.entitlements_not_refreshed", error=repr(error))


def _rates(terms: RateTerms) -> ClassRates:
    return ClassRates(Rate(terms.quota, terms.window_s), Rate(terms.per_credential, terms.window_s))
