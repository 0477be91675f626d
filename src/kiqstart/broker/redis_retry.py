"""Which errors of Redis pass by themselves, and how long to wait for that."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, TypeVar

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterError,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kiqstart.clock import local_time
from kiqstart.tasks.results.error_encoding import text_of
from kiqstart.tasks.results.plain_values import class_name

Answer = TypeVar("Answer")

_PASSING: Final = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    ClusterError,
    OutOfMemoryError,
    SlotNotCoveredError,
    TryAgainError,
    OSError,
)
# Answers for which redis-py has no class, or that a script of Redis 6.2 puts its own text before: memory is full,
# replicas or the disk are away, a script runs, a failover ends a block.
_PASSING_ANSWERS: Final = (
    "OOM",
    "NOREPLICAS",
    "MISCONF",
    "BUSY ",
    "UNBLOCKED",
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
)
# Answers, one of which redis-py takes for a lost connection; and what ends a command before it has a connection.
_ANSWERS: Final = (ResponseError, BusyLoadingError)
_UNSENT: Final = (MaxConnectionsError, SlotNotCoveredError)
_NOT_CONNECTED: Final = ("connecting to", "No master found for")
# A password that is being changed, or a right that is missing, for a command or inside a script.
_UNAUTHORIZED: Final = (
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "user executing the script can't",
    "ACL failure in script",
    "unauthenticated",
)
# The second is what a command with many or long arguments is told in the place of NOAUTH.
_NOT_LOGGED_IN: Final = ("Authentication required", "Protocol error: unauthenticated")
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


def is_outage(error: BaseException) -> bool:
    """Whether the same command may succeed later: the server is away, busy, full or changing its role."""
    if isinstance(error, AuthenticationError | AuthorizationError):
        return False
    if isinstance(error, _PASSING):
        return True
    # redis-py cuts the code off an error that it knows, and a script's error has the code first.
    return isinstance(error, ResponseError) and any(answer in str(error) for answer in _PASSING_ANSWERS)


def is_unauthorized(error: BaseException) -> bool:
    """Whether Redis refuses the user: a wrong password, or a right that is missing."""
    if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
        return True
    return isinstance(error, ResponseError) and any(answer in str(error) for answer in _UNAUTHORIZED)


def is_foreign_type(error: BaseException) -> bool:
    """Whether a key holds something of another type, which a stranger has put there."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


def may_have_run(error: BaseException) -> bool:
    """Whether a command that ended so may have reached Redis and have been run, or be run yet: it has no answer."""
    if isinstance(error, _ANSWERS):
        return False
    return not isinstance(error, _UNSENT) and not any(words in text_of(error) for words in _NOT_CONNECTED)


@contextmanager
def without_foreign_keys() -> Generator[None]:
    """Pass over what fails since a key holds something of another type, which a stranger has put there."""
    try:
        yield
    except ResponseError as error:
        if not is_foreign_type(error):
            raise


def may_pass(error: BaseException) -> bool:
    """Whether to wait for what has been run already, which must not run again: for an outage, or for rights.

    A send does not wait for rights: its caller is told at once.
    """
    return is_outage(error) or is_unauthorized(error)


def pause(tries: int) -> float:
    """Seconds to wait after so many failed tries: 0.05, doubled each time up to 1, less up to half of it by chance."""
    longest = min(_FIRST_PAUSE * 2.0 ** min(tries, 10), _LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  # not a secret


async def retry_transient(call: Callable[[], Awaitable[Answer]], deadline: float) -> Answer:
    """Make a call that may be repeated, again and again for up to `deadline` seconds while Redis is away."""
    until = local_time() + deadline
    tries = 0
    while True:
        try:
            return await call()
        except Exception as error:
            if not is_outage(error) or local_time() >= until:
                raise
            await asyncio.sleep(pause(tries))
            tries += 1


def reason(error: BaseException) -> str:
    """An error's first line, for a log."""
    text = text_of(error) or class_name(type(error))
    if any(words in text for words in _NOT_LOGGED_IN):
        return "Redis asks for a password"
    return text.splitlines()[0].rstrip(".")


ANY_REDIS_ERROR: Final = (RedisError, OSError)
