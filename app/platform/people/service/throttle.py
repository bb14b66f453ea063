"""Decides whether an attempt may cost anything: asked before a password is hashed or a code compared.

Counts in Redis, for all gateways together; while Redis is away each gateway counts by itself, so limits grow by the
number of gateways and never disappear.
"""

import hashlib

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

from app.kernel.errors import DomainError, Kind
from app.platform.people.domain import Plan, Rule

log = structlog.get_logger(__name__)


class Throttle:
    """The counters of one process. `redis_url` may point at a server that is down."""

    def __init__(self, redis_url: str) -> None:
        self._pool = BlockingConnectionPool.from_url(
            redis_url, max_connections=8, timeout=2, socket_connect_timeout=1, socket_timeout=1
        )
        shared = RedisStorage("redis://", implementation="redispy", key_prefix="people", connection_pool=self._pool)  # type: ignore[arg-type]  # handed to redis-py as it is
        self._shared = MovingWindowRateLimiter(shared)
        self._local = MovingWindowRateLimiter(MemoryStorage())

    async def admit(self, plan: Plan) -> None:
        """Count one attempt. Raises `too_many_attempts` when the plan does not admit it."""
        for rule in plan.rules:
            if not await self._hit(rule):
                raise _too_many(rule)
        if plan.account is None or await self._hit(plan.account):
            return
        if plan.slow is None or not await self._hit(plan.slow):
            raise _too_many(plan.slow or plan.account)

    async def forgive(self, plan: Plan) -> None:
        """Forget the failures that a success explains."""
        for rule in plan.forgiven:
            item, key = _item(rule), _key(rule)
            await self._local.clear(item, key)
            try:
                await self._shared.clear(item, key)
            except (RedisError, OSError) as error:
                log.warning("throttle.local", error=type(error).__name__)

    async def _hit(self, rule: Rule) -> bool:
        item, key = _item(rule), _key(rule)
        try:
            return await self._shared.hit(item, key)
        except (RedisError, OSError) as error:
            log.warning("throttle.local", error=type(error).__name__)
            return await self._local.hit(item, key)

    async def close(self) -> None:
        await self._pool.aclose()


def _item(rule: Rule) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(rule.amount, rule.seconds, namespace=rule.key[0])


def _key(rule: Rule) -> str:
    """Hashed: an e-mail address has no business in Redis, and what is typed cannot collide with a separator."""
    return hashlib.sha256("\x00".join(rule.key).encode()).hexdigest()


def _too_many(rule: Rule) -> DomainError:
    wait = f"{rule.seconds // 60} minutes" if rule.seconds >= 120 else f"{rule.seconds} seconds"
    return DomainError("too_many_attempts", Kind.LIMITED, f"Too many attempts. Wait up to {wait}, then try again once.")
