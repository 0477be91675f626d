"""A client of Redis, and the check that Redis is there."""

from typing import TYPE_CHECKING, Final, cast

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError, ResponseError

from kiqstart.errors import OperatorError
from kiqstart.redis.connections import RedisConnections
from kiqstart.redis.settings import RedisSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# A map, in RESP2 as a list.
_Hello = dict[bytes, object] | list[object]

_OLDEST: Final = (6, 2)
_ANSWER_SECONDS: Final = 5.0
_TOO_MANY_CLIENTS: Final = "max number of clients"
# What a command is told that came before a password.
_NOT_LOGGED_IN: Final = ("NOAUTH", "WRONGPASS", "Authentication required", "unauthenticated", "username-password")
_KEYS_AT_ONCE: Final = 1000


class RedisUnavailableError(OperatorError):
    """Redis cannot be reached, refuses the password, or is too old."""


def create_redis(settings: RedisSettings) -> Redis | RedisCluster:
    """A client with connections of its own; nothing is connected yet."""
    return _connections(settings).async_client(timeout=_ANSWER_SECONDS)


async def server_information(redis: Redis | RedisCluster, section: str) -> list[dict[str, object]]:
    """A section of INFO from the server, or from each master of the cluster."""
    if isinstance(redis, RedisCluster):
        answers: dict[str, dict[str, object]] = await redis.info(section, target_nodes=RedisCluster.PRIMARIES)
        return list(answers.values())
    return [await redis.info(section)]


async def check_redis(redis: Redis | RedisCluster, address: str) -> str:
    """Ask Redis for its version, each master of a cluster, and return the oldest.

    Raises:
        RedisUnavailableError: with the address, never the password.
    """
    try:
        versions = await _versions(redis)
    except (RedisError, OSError) as error:
        why = with_remedy(_reason(error), error)
        raise RedisUnavailableError(f"cannot use Redis at {address} (REDIS_URL): {why}") from None
    version = min(versions, key=_numbers)
    if _numbers(version) < _OLDEST:
        raise RedisUnavailableError(f"Redis at {address} (REDIS_URL) is version {version}; kiqstart needs 6.2 or newer")
    return version


async def _versions(redis: Redis | RedisCluster) -> list[str]:
    try:
        # Valkey says beside its own version that of the Redis it behaves like.
        facts = await server_information(redis, "server")
        return [str(answer.get("valkey_version") or answer["redis_version"]) for answer in facts]
    except NoPermissionError:
        # To ACLs, INFO is a dangerous command; HELLO every user may run. Alone it leaves the protocol as it is.
        if isinstance(redis, RedisCluster):
            by_node: dict[str, _Hello] = await redis.execute_command("HELLO", target_nodes=RedisCluster.PRIMARIES)
            return [_version_in_hello(answer) for answer in by_node.values()]
        return [_version_in_hello(cast("_Hello", await redis.execute_command("HELLO")))]


def _version_in_hello(answer: _Hello) -> str:
    facts = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
    return cast("bytes", facts[b"version"]).decode()


async def delete_keys(redis: Redis | RedisCluster, name: str) -> None:
    """Delete every key that has `name` (letters, digits and - only) anywhere in its own.

    Anywhere, since the locks of taskiq-redis have a prefix of their own before that of the queue.
    """
    keys = cast("AsyncIterator[bytes]", redis.scan_iter(match=f"*{name}*", count=_KEYS_AT_ONCE))
    found = [key async for key in keys]
    # On a cluster they are not in one slot.
    at_once = 1 if isinstance(redis, RedisCluster) else _KEYS_AT_ONCE
    for start in range(0, len(found), at_once):
        await redis.unlink(*found[start : start + at_once])


def _connections(settings: RedisSettings) -> RedisConnections:
    return RedisConnections(settings.redis_url.get_secret_value(), connect_timeout=settings.redis_connect_timeout)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def with_remedy(reason: str, error: Exception) -> str:
    """Why Redis cannot be used, and what an operator can do about that, where that is known."""
    remedy = _remedy_of(error)
    return f"{reason}; {remedy}" if remedy else reason


def _remedy_of(error: Exception) -> str:
    text = str(error)
    if _TOO_MANY_CLIENTS in text:
        return "close connections that nobody needs, or raise its `maxclients`"
    if isinstance(error, NoPermissionError):
        return "give its user this right"
    if isinstance(error, AuthenticationError | AuthorizationError) or any(words in text for words in _NOT_LOGGED_IN):
        return "correct the user or the password in REDIS_URL"
    return "" if isinstance(error, ResponseError) else "start it, or correct the address in REDIS_URL"


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
