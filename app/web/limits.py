"""Decides what a call costs, and whether its tenant and its credential have that much left.

A route declares its class and weight beside its permission: `dependencies=[Depends(costs("orders"))]`. Without a
declaration it is a read or a write, by its method. What takes risk away (cancel, pause, stop, revoke; `requires` with
`exits`) weighs nothing, and nothing here ever refuses it. Headers follow draft-ietf-httpapi-ratelimit-headers-11;
`web.sources` writes them.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from starlette.requests import HTTPConnection
from starlette.types import Scope

from app.infra.buckets import Bucket, Verdict
from app.infra.rates import RateStore
from app.kernel.costs import CostClass
from app.kernel.errors import DomainError, Kind
from app.kernel.principal import Principal
from app.web.quotas import ClassRates, Quotas

_SAFE = ("GET", "HEAD", "OPTIONS")
_STATE = "rate_verdict"
REMEMBERED = 10_000
"""Callers whose buckets need not be named anew with every call."""


@dataclass(frozen=True, slots=True)
class Costs:
    """A marker among a route's dependencies; it does nothing when called."""

    cost_class: CostClass
    weight: int

    async def __call__(self) -> None:
        return None


def costs(cost_class: str, weight: int = 1) -> Costs:
    """`Depends(costs("backtests", 5))`. Raises ValueError for a class that does not exist and for a negative weight."""
    if weight < 0:
        raise ValueError(f"a call cannot weigh {weight}")
    return Costs(CostClass(cost_class), weight)


EXIT = Costs(CostClass.ORDERS, 0)
"""What takes risk away: never limited, whatever is exhausted, unpaid or down."""


def usual_cost(method: str) -> Costs:
    """What a route costs that declares nothing."""
    return Costs(CostClass.READS if method in _SAFE else CostClass.WRITES, 1)


class Limiter:
    """Charges calls to tenants and credentials: one round trip to Redis each, then the month's count in memory."""

    def __init__(self, rates: RateStore, quotas: Quotas) -> None:
        self.rates = rates
        self.quotas = quotas

    async def charge(self, asked: HTTPConnection, principal: Principal, cost: Costs, *, now: datetime) -> None:
        """Charge a request, or a message of a WebSocket. Raises `rate_limited`, `quota_exceeded`, `read_only`: never
        for exits."""
        allowance = await self.quotas.allowance(principal.tenant_id, now=now)
        verdict = await self.rates.take(
            buckets_of(principal.tenant_id, principal.key_id, cost.cost_class, allowance.rates[cost.cost_class]),
            cost.weight,
            open_when_away=cost.cost_class is CostClass.READS,
        )
        show(asked.scope, verdict)
        if not verdict.admitted:
            raise rate_limited(verdict)
        if cost.weight == 0:
            return
        ordering = cost.cost_class is CostClass.ORDERS  # admission lets exits of a read-only tenant pass, no entries
        if allowance.read_only and not ordering and asked.scope.get("method", "GET") not in _SAFE:
            raise DomainError(
                "read_only",
                Kind.FORBIDDEN,
                "The subscription is past due beyond its grace, so the tenant is read-only. Pay the open invoice. "
                "Meanwhile you may read, cancel orders, and close positions.",
            )
        self.quotas.count_call(principal.tenant_id, cost.weight, now=now, refuse=not ordering)


@lru_cache(maxsize=REMEMBERED)
def buckets_of(tenant_id: UUID, key_id: UUID, cost_class: CostClass, rates: ClassRates) -> tuple[Bucket, ...]:
    """The tenant's bucket and the credential's."""
    key = f"rate:{tenant_id}:{cost_class}"
    return (
        Bucket(cost_class.value, key, rates.tenant),
        Bucket(f"{cost_class}-key", f"{key}:{key_id.hex}", rates.credential),
    )


def rate_limited(verdict: Verdict) -> DomainError:
    """The refusal of a verdict, naming the rate that is used up."""
    used_up = min(zip(verdict.levels, verdict.buckets, strict=True), key=lambda pair: pair[0].remaining)[1]
    rate = used_up.rate
    return DomainError(
        "rate_limited",
        Kind.LIMITED,
        f"More calls than {used_up.policy} allows: {rate.quota} in {rate.window_s} s. "
        f"Wait {seconds(verdict.wait_us)} s (Retry-After), then repeat it.",
    )


def seconds(microseconds: int) -> int:
    """Whole seconds, rounded up: whoever waits that long does not come too early."""
    return -(-microseconds // 1_000_000)


def show(scope: Scope, verdict: Verdict) -> None:
    """Note what the answer's headers shall say."""
    scope.setdefault("state", {})[_STATE] = verdict


def shown(scope: Scope) -> Verdict | None:
    """The verdict noted for this request: None when nobody was charged."""
    verdict: Verdict | None = scope.get("state", {}).get(_STATE)
    return verdict


def headers_of(verdict: Verdict) -> list[tuple[bytes, bytes]]:
    """`RateLimit-Policy`, `RateLimit`, and `Retry-After` with a refusal: lists of structured fields (RFC 9651)."""
    policies, left = [], []
    for one, level in zip(verdict.buckets, verdict.levels, strict=True):
        policies.append(f'"{one.policy}";q={one.rate.quota};w={one.rate.window_s}')
        left.append(f'"{one.policy}";r={level.remaining};t={seconds(level.full_in_us)}')
    found = [(b"ratelimit-policy", ", ".join(policies).encode()), (b"ratelimit", ", ".join(left).encode())]
    if not verdict.admitted:
        found.append((b"retry-after", str(max(1, seconds(verdict.wait_us))).encode()))
    return found
