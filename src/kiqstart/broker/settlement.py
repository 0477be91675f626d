"""Ends each delivery in some way, also where Redis refuses what became of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from logging import getLogger
from typing import Final

from redis.exceptions import RedisError

from kiqstart.broker.delivery import Again, Dead, Delivery, Left, Outcome
from kiqstart.broker.redis_retry import is_outage, may_pass, pause, reason
from kiqstart.broker.results import encode_failure
from kiqstart.broker.settler import Settler
from kiqstart.clock import local_time
from kiqstart.tasks.results.errors import ResultRefusedError

logger = getLogger(__name__)

_SECONDS_UNTIL_AGAIN: Final = 60.0


class Settlement:
    """Settles deliveries one by one: what Redis refuses for good ends with less.

    Args:
        settler: settles many at once.
        deadline: seconds for which a right is waited for that the user of Redis lacks.
    """

    def __init__(self, settler: Settler, *, deadline: float) -> None:
        self._deadline = deadline
        # Applies a delivery's outcome and result; nearly all end so. Any answer but True is one for `finish`.
        self.begin: Callable[[Delivery], Awaitable[Sequence[bool | BaseException]]] = settler.settle

    async def finish(self, delivery: Delivery, answer: bool | BaseException) -> bool | BaseException:
        """Apply what may still be taken of a delivery's outcome and result, where Redis has refused them.

        Gives False where another worker has the task by now, or the `RedisError` with which Redis refuses any end.
        """
        if not isinstance(answer, RedisError):
            return answer
        answer = await self._for_good(delivery, answer)
        if not isinstance(answer, RedisError):
            return answer
        logger.error("What became of task %s is refused by Redis: %s", delivery.task_id, reason(answer))
        for outcome, result in _lesser_ends(delivery, reason(answer)):
            delivery.outcome, delivery.result = outcome, result
            answer = await self._for_good(delivery, (await self.begin(delivery))[0])
            if not isinstance(answer, RedisError):
                return True
        return answer

    async def _for_good(self, delivery: Delivery, answer: bool | BaseException) -> bool | BaseException:
        """What Redis says for good: a script may have met an outage for this delivery alone, such as a full memory."""
        until, tries = local_time() + self._deadline, 0
        while isinstance(answer, RedisError) and may_pass(answer):
            if not is_outage(answer) and local_time() > until:
                break
            tries += 1
            await asyncio.sleep(pause(tries))
            answer = (await self.begin(delivery))[0]
        return answer


def _lesser_ends(delivery: Delivery, problem: str) -> Iterator[tuple[Outcome, bytes]]:
    """What may still be taken: the error instead of the result, no result, another try instead of what is refused."""
    outcome = delivery.outcome
    if delivery.result:
        yield outcome, encode_failure(ResultRefusedError(problem))
        yield outcome, b""
    if isinstance(outcome, Dead | Left):
        yield Again(message=outcome.message, delay=_SECONDS_UNTIL_AGAIN), b""
    elif isinstance(outcome, Again) and outcome.delay:
        # At once, so that this try is counted: what is left to the next worker as it is has no end.
        yield replace(outcome, delay=0.0), b""
