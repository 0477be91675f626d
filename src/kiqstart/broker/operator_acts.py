"""What an operator asks for once goes through an outage, and says so where nobody knows whether it was done."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kiqstart.broker.redis_retry import is_outage, pause, reason
from kiqstart.clock import local_time

Answer = TypeVar("Answer")


class UnansweredError(RedisError):
    """Redis has not done something in time, or not said whether it did. The text says which."""


@dataclass(frozen=True, slots=True)
class Done(Generic[Answer]):
    """What Redis has answered.

    Args:
        is_repeated: whether a try before had no answer. It may have done already what this one found done.
        waited: seconds of the tries that failed.
    """

    answer: Answer
    is_repeated: bool
    waited: float


async def do(call: Callable[[], Awaitable[Answer]], *, deadline: float, otherwise: str) -> Done[Answer]:
    """Do what may be done twice, again and again for up to `deadline` seconds while Redis is away.

    Args:
        call: one try.
        deadline: seconds.
        otherwise: what may be the case where Redis has not answered, for the error's text.

    Raises:
        UnansweredError: Redis has not answered in time, and nobody knows whether it was done; or it has refused it for
            all that time, and nothing was done.
        RedisError: Redis refuses it; it was not done.
    """
    began_at = tried_at = local_time()
    tries, is_repeated = 0, False
    while True:
        try:
            return Done(await call(), is_repeated, tried_at - began_at)
        except Exception as error:
            is_repeated |= isinstance(error, RedisConnectionError | RedisTimeoutError | OSError)
            if not is_outage(error) or local_time() >= began_at + deadline:
                if is_repeated or is_outage(error):
                    state = otherwise if is_repeated else "nothing was done"
                    raise UnansweredError(f"{reason(error)} (tried for {deadline:g} s); {state}") from error
                raise
            await asyncio.sleep(pause(tries))
            tries, tried_at = tries + 1, local_time()
