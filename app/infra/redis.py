"""Decides how Redis is reached: a blocking pool (the default one raises at 200 concurrent calls), short timeouts."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

REDIS_ERRORS = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OSError)
"""What a call raises while Redis is down. Everything that uses Redis says what it does then."""


def open_redis(url: str, *, connections: int = 16) -> Redis:
    """A client on `url`, decoding text; retries a broken connection once before it raises."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=5,
        decode_responses=True,
        socket_connect_timeout=2,
        socket_timeout=10,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 1),
        retry_on_error=[RedisConnectionError],
    )
    return Redis(connection_pool=pool)
