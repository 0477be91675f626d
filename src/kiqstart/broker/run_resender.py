"""Sends the messages of failed runs again, of which no dead letter was left."""

import re
from collections.abc import Set as AbstractSet
from typing import Final

from taskiq import TaskiqMessage
from taskiq.abc.formatter import TaskiqFormatter

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.operator_acts import do
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.resent_message import as_new, envelope_of
from kiqstart.broker.run_decoding import Run, message_in
from kiqstart.broker.run_names import NamedRun
from kiqstart.broker.run_record import MESSAGE_BYTES
from kiqstart.broker.script import Script
from kiqstart.errors import OperatorError
from kiqstart.redis.commands import AsyncCommands, Value
from kiqstart.tasks.labels import UNIQUE_LABEL
from kiqstart.tasks.messages import send_of

_RESEND_RUN: Final = Script[list[bytes]]("resend_run")
_ID: Final = re.compile(r"([0-9]{1,19}-[0-9]{1,19})\.([0-9]{1,9})")
_SHOWN: Final = 100


class RunNotResentError(OperatorError):
    """The message of a run cannot be sent again; the text says why, and what to do.

    Args:
        task_id: the run's task.
        problem: why.
    """

    def __init__(self, task_id: str | None, problem: str) -> None:
        super().__init__(f"task {(task_id or '')[:_SHOWN]!r} is not sent again: {problem}")


class RunResender:
    """Sends a failed run's message anew, once for each run; it is the message as it came, sealed if it was.

    Args:
        redis: an async client.
        keys: the broker's names.
        formatter: reads and writes the broker's messages.
        deadline: seconds for which sending is tried through an outage.
        marks_age: seconds after which all runs are dropped that have failed by now.
    """

    def __init__(
        self, redis: AsyncCommands, keys: QueueKeys, formatter: TaskiqFormatter, *, deadline: float, marks_age: float
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._formatter = formatter
        self._deadline = deadline
        self._marks_age = marks_age

    async def resend(self, run: Run | NamedRun) -> None:
        """Send its task to its queue anew, in one step, and note that; its tries count from 0.

        The task keeps its id, takes its unique key, and is cancelled no more. Its result (the error) is deleted, so
        that who waits gets the new one. The run stays among those that are kept.

        Raises:
            RunNotResentError: it was sent again before or is not kept any more, its message is not kept whole, another
                task has its unique key, or the key of its queue holds something else.
            UnansweredError: Redis does not answer any more; it may have been sent.
            RedisError: Redis is away, and it was not sent.
        """
        data = await self._kept_message(run)
        message = self._whole(run, data)
        unique, keys = str(message.labels.get(UNIQUE_LABEL, "")), self._keys
        stream = keys.stream(run.queue)
        if not keys.is_queue(stream):
            raise RunNotResentError(run.task_id, f"no queue can be named {run.queue[:_SHOWN]!r}")
        marks_ms = round(self._marks_age * 1000)
        anew = as_new(self._formatter, message, data)
        call: list[Value] = [run.id, message.task_id, unique, anew, send_of(message), marks_ms]
        names = [keys.result(message.task_id), stream, keys.failed_runs, keys.resent_runs, *keys.shared]
        done = await do(
            lambda: _RESEND_RUN(self._redis, names, call),
            deadline=self._deadline,
            otherwise=f"task {message.task_id!r:.100} may have been sent again",
        )
        outcome, detail = (part.decode(errors="replace") for part in done.answer)
        # A try without an answer may have sent it.
        if outcome != "sent" and not (outcome == "resent" and done.is_repeated):
            raise RunNotResentError(run.task_id, _problem(outcome, detail, unique, stream))

    async def resent(self) -> AbstractSet[str]:
        """The ids of runs that were sent again."""
        found: list[bytes] = []
        with without_foreign_keys():
            found = await self._redis.zrange(self._keys.resent_runs, 0, -1)
        return {one.decode(errors="replace") for one in found}

    async def _kept_message(self, run: Run | NamedRun) -> bytes:
        place = _ID.fullmatch(run.id)
        if place is not None:
            entries = await self._redis.xrange(self._keys.failed_runs, min=place[1], max=place[1])
            if entries:
                return message_in(entries[0][1].get(b"runs", b""), int(place[2]))
        raise RunNotResentError(run.task_id, _problem("unknown", "", "", ""))

    def _whole(self, run: Run | NamedRun, data: bytes) -> TaskiqMessage:
        # What was cut is no JSON any more.
        message = envelope_of(self._formatter, data)
        if message is None:
            raise RunNotResentError(
                run.task_id,
                f"its message is not kept whole, which only JSON of up to {MESSAGE_BYTES} bytes is; send it from where "
                "it was sent first (with max_retries, a task leaves a dead letter that has all of it)",
            )
        return message


def _problem(outcome: str, detail: str, unique: str, stream: str) -> str:
    if outcome == "unknown":
        return "its run is not kept any more"
    if outcome == "resent":
        return "this run of it was sent again before; `kiqstart runs show` says what became of that"
    if outcome == "held":
        return f"task {detail} waits or runs with its unique key {unique!r}"
    return f"it cannot be added to {stream}: {detail}"
