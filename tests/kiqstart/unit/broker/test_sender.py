"""What a sender does, and what it says, while Redis gives no answer or refuses."""

import asyncio
from collections.abc import Sequence
from itertools import chain, repeat
from typing import cast

import pytest
from redis.exceptions import BusyLoadingError, MaxConnectionsError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.sender import Sender, SendFailedError, Sending
from kiqstart.clock import local_time
from kiqstart.redis.commands import ScriptClient

UNANSWERED = "the last try may still arrive"
EARLIER = "an earlier try had no answer: it may be enqueued"
REFUSED = RedisConnectionError("Error 111 connecting to localhost:6379. Connection refused.")
LOST = RedisConnectionError("Connection closed by server.")


class SilentRedis:
    """A Redis that never answers."""

    def __init__(self) -> None:
        self.calls = 0

    def evalsha(self, *_: object) -> "asyncio.Future[object]":
        self.calls += 1
        return asyncio.get_running_loop().create_future()


class FailingRedis:
    """A Redis of which each command ends with the next error, and with the last one from then on."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        self._errors = chain(errors, repeat(errors[-1]))

    def evalsha(self, *_: object) -> "asyncio.Future[object]":
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        answer.set_exception(next(self._errors))
        return answer


def sender_to(redis: object, *, deadline: float = 0.1) -> Sender:
    return Sender(cast("ScriptClient", redis), QueueKeys("{some}:tasks"), deadline=deadline, address="there")


def a_message(number: int = 1) -> Sending:
    return Sending(stream="{some}:tasks", task_id=f"task-{number}", message=b"{}")


async def test_what_waits_behind_a_batch_that_has_no_answer_fails_with_it_and_is_never_sent() -> None:
    redis = SilentRedis()
    sender = sender_to(redis)
    sends = (sender.send(a_message(number)) for number in range(5 * 512))
    errors = await asyncio.gather(*sends, return_exceptions=True)
    assert {type(error) for error in errors} == {SendFailedError}
    assert redis.calls == 1
    assert [UNANSWERED in str(error) for error in errors] == [True] * 512 + [False] * 4 * 512
    assert str(errors[-1]).endswith("task-2559 was not sent to Redis at there: no answer in time (waited for 0.1 s)")


async def test_a_try_that_has_no_answer_ends_with_its_first_message_and_goes_on_for_the_others() -> None:
    redis = SilentRedis()
    sender = sender_to(redis, deadline=1.0)
    first = asyncio.create_task(sender.send(a_message(1)))
    await asyncio.sleep(0)
    impatient, patient = a_message(2), a_message(3)
    others = [asyncio.create_task(sender.send(one)) for one in (impatient, patient)]
    await asyncio.sleep(0)
    impatient.deadline, patient.deadline = local_time(), local_time() + 3600
    await asyncio.wait([first, others[0]])
    assert not others[1].done()
    others[1].cancel()


async def test_what_waited_for_a_blocked_event_loop_is_tried_all_the_same() -> None:
    redis = SilentRedis()
    sender, late = sender_to(redis, deadline=-3600), a_message()
    with pytest.raises(SendFailedError, match=UNANSWERED):
        await sender.send(late)
    assert redis.calls == 1


@pytest.mark.parametrize(
    ("errors", "doubt"),
    [
        ([RedisTimeoutError("no answer for 5 s")], UNANSWERED),
        ([LOST], UNANSWERED),
        ([REFUSED, LOST], UNANSWERED),
        ([RedisTimeoutError("Timeout connecting to server")], ""),
        ([REFUSED], ""),
        ([MaxConnectionsError("Too many connections")], ""),
        ([BusyLoadingError("Redis is loading the dataset in memory")], ""),
        ([OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")], ""),
        ([ReadOnlyError("You can't write against a read only replica.")], ""),
        ([ResponseError("NOREPLICAS Not enough good replicas to write.")], ""),
        ([LOST, REFUSED], EARLIER),
        ([LOST, ReadOnlyError("You can't write against a read only replica.")], EARLIER),
        ([LOST, ResponseError("NOPERM this user has no permissions")], EARLIER),
    ],
)
async def test_it_says_that_a_task_may_be_enqueued_only_where_a_try_had_no_answer(
    errors: Sequence[Exception], doubt: str
) -> None:
    with pytest.raises(SendFailedError) as caught:
        await sender_to(FailingRedis(errors)).send(a_message())
    text = str(caught.value)
    assert [one for one in (UNANSWERED, EARLIER) if one in text] == ([doubt] if doubt else [])
