"""A client of Redis, and the check that Redis is there."""

from typing import TYPE_CHECKING, cast

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.exceptions import RedisError

from kiqstart.infrastructure.errors import OperatorError
from kiqstart.infrastructure.redis.settings import RedisSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_OLDEST = (6, 2)
_KEYS_AT_ONCE = 1000


class RedisUnavailableError(OperatorError):
    """Redis cannot be reached, refuses the password, or is too old."""


def create_redis(settings: RedisSettings) -> Redis:
    """A client with a connection pool of its own; nothing is connected yet."""
    return Redis.from_url(settings.redis_url.get_secret_value(), socket_connect_timeout=settings.redis_connect_timeout)


async def check_redis(redis: Redis, settings: RedisSettings) -> None:
    """Ask Redis for its version.

    Raises:
        RedisUnavailableError: with the address, never the password.
    """
    try:
        version = str((await redis.info("server"))["redis_version"])
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(
            f"cannot use Redis at {_address(settings)} (REDIS_URL): {_reason(error)}; "
            "start it, or correct the address, the user or the password"
        ) from None
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise RedisUnavailableError(
            f"Redis at {_address(settings)} (REDIS_URL) is version {version}; kiqstart needs 6.2 or newer"
        )


async def delete_keys(redis: Redis, name: str) -> None:
    """Delete every key that has `name` (letters, digits and - only) anywhere in its own.

    Anywhere, since the locks of taskiq-redis have a prefix of their own before that of the queue.
    """
    keys = cast("AsyncIterator[bytes]", redis.scan_iter(match=f"*{name}*", count=_KEYS_AT_ONCE))
    async for key in keys:
        await redis.unlink(key)


def _address(settings: RedisSettings) -> str:
    parts = parse_url(settings.redis_url.get_secret_value())
    return str(parts.get("path") or f"{parts.get('host', 'localhost')}:{parts.get('port', 6379)}")


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
