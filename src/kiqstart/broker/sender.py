"""Sends messages: each once, through an outage, many in one round trip."""

import asyncio
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from logging import getLogger
from typing import Final, cast

from redis.exceptions import NoScriptError
from taskiq.exceptions import SendTaskError

from kiqstart.broker.batcher import Batches, Work, only
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import is_outage, may_have_run, pause, reason
from kiqstart.broker.script import Script
from kiqstart.broker.sent_stats import SentCounter
from kiqstart.clock import local_time
from kiqstart.redis.commands import ScriptClient, Value
from kiqstart.tasks.labels import DEFAULT_QUEUE

logger = getLogger(__name__)

# Of each message that was not simply sent: its place, what came of it, and what is to be said of that.
_Answers = list[int | bytes]
_SEND: Final = Script[_Answers]("send")
_SEND_PLAIN: Final = Script[_Answers]("send_plain")
# A try may reach Redis long after it was given up: for so long a sender's batches stay known.
_REMEMBERED_MS: Final = 3_600_000
# What a try may take beyond the deadline of the first message that it carries.
_SECONDS_BEYOND: Final = 1.0


class SendFailedError(SendTaskError):
    """A task could not be sent. Where a try had no answer, its text says that the task may be enqueued all the same."""

    __template__ = "{problem}"
    problem: str


class QueueFullError(SendFailedError):
    """A queue holds as many tasks as `queue_limit` allows, and takes no other one until some have ended."""


@dataclass(kw_only=True, slots=True, eq=False)
class Sending:
    """A message on its way.

    Args:
        stream: key of its queue's stream.
        task_id: its task.
        message: what the worker gets.
        queue: its name, for messages.
        delay: seconds until it is due.
        due: or the time, in seconds since the Unix epoch, at which it is due.
        unique: a key of which one task waits or runs at a time, or ''.
        send: which send of its id it is, where another task may have had that.
        is_anew: whether another task may have had its id, whose result is none of this one's.
        deadline: until when it is tried, by this machine's clock; the sender sets it.
        task: its task's name, by which it is counted.
        is_given_up: whether nobody waits for it any more: from now on it is not sent.
    """

    stream: str
    task_id: str
    message: bytes
    queue: str = DEFAULT_QUEUE
    delay: float = 0.0
    due: float | None = None
    unique: str = ""
    send: str = ""
    is_anew: bool = False
    deadline: float = 0.0
    task: str = ""
    is_given_up: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it only has to be added to its stream."""
        is_odd = self.is_anew or self.is_given_up or self.due is not None
        return not self.unique and self.delay <= 0 and not is_odd


# Of two tries, the first may have been run, and only its answer have been lost.
_DOUBT_OF_EARLIER: Final = "an earlier try had no answer: it may be enqueued"


class Sender(Work[Sending, str, _Answers]):
    """Sends messages, those of one turn of the event loop in one step.

    A batch has a number, which Redis remembers: a batch that is sent again, since the connection was lost before its
    answer came, is run once. The messages of a batch are added in the order in which they were sent.

    Args:
        redis: an async client.
        deadline: seconds for which a message is tried.
        address: the server, for messages.
        queue_limit: how many messages a stream may hold, and how many may be delayed; None for any number.
        large: another client, for large messages, whose batches are numbered by themselves.
        sent: counts what was sent; None where nobody does.
    """

    def __init__(
        self,
        redis: ScriptClient,
        keys: QueueKeys,
        *,
        deadline: float,
        address: str,
        queue_limit: int | None = None,
        large: ScriptClient | None = None,
        sent: SentCounter | None = None,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._deadline = deadline
        self._address = address
        self._key = keys.sender(uuid.uuid4().hex)
        self._number = 0
        self._limit = queue_limit or 0
        self._sent = sent
        # Why the last try has failed.
        self._away: Exception | None = None
        way = None
        if large is not None:
            way = Sender(large, keys, deadline=deadline, address=address, queue_limit=queue_limit, sent=sent)
        self._batches: Batches[Sending, str, _Answers] = Batches(
            self, lambda sending: len(sending.message), large_work=way
        )

    async def send(self, sending: Sending) -> str:
        """Send a message; the answer is its task's id, or that of the task which holds its unique key.

        Where its caller is cancelled, it is not sent, unless it is on its way already.

        Raises:
            SendFailedError: it was not sent before the deadline, or Redis refuses it.
        """
        sending.deadline = local_time() + self._deadline
        try:
            return only(await self._batches.add_all((sending,)))
        except asyncio.CancelledError:
            sending.is_given_up = True
            raise

    def send_all(self, sendings: Sequence[Sending]) -> Awaitable[Sequence[str | BaseException]]:
        """Send messages in one step, which begins now; for each, what `send` would give or raise."""
        deadline = local_time() + self._deadline
        for sending in sendings:
            sending.deadline = deadline
        return self._batches.add_all(sendings)

    async def drain(self) -> None:
        """Wait for what is under way."""
        await self._batches.drain()

    def begin(self, items: Sequence[Sending]) -> Awaitable[_Answers]:
        """Send a batch for the first time, under a number of its own."""
        self._number += 1
        script, keys, arguments = self._call(items)
        return script.begin(self._redis, keys, arguments)

    def answers(self, items: Sequence[Sending], outcome: _Answers) -> Sequence[str | BaseException]:
        """Each message's task; but for those that were not simply sent."""
        self._away = None
        answers: list[str | BaseException] = [one.task_id for one in items]
        if self._sent is not None:
            self._sent.count(items, [cast("int", place) - 1 for place in outcome[::3]] if outcome else ())
        if not outcome:
            return answers
        for place, kind, text in zip(outcome[::3], outcome[1::3], outcome[2::3], strict=True):
            position, value = cast("int", place) - 1, cast("bytes", text).decode(errors="replace")
            if kind == b"full":
                answers[position] = self._full(items[position], value)
            else:
                answers[position] = value if kind == b"held" else self._failure(items[position], value)
        return answers

    def patience(self, items: Sequence[Sending]) -> float:
        """Seconds that a try may take; those that were sent first have the nearest deadline."""
        left = items[0].deadline - local_time() if items else self._deadline
        return max(left, 0.0) + _SECONDS_BEYOND

    def expired(self, items: Sequence[Sending]) -> Sequence[BaseException] | None:
        """Fail what waited for others until its deadline, while Redis is away; it was never sent."""
        if self._away is None or not items or items[0].deadline > local_time():
            return None
        return [self._failure(one, f"{reason(self._away)} (waited for {self._deadline:g} s)") for one in items]

    async def mend(self, items: Sequence[Sending], error: Exception) -> Sequence[str | BaseException]:
        """Send a batch again, under its number, until each message's deadline."""
        failures: dict[int, BaseException] = {}
        tries, was_unanswered = 0, False
        left = items
        while True:
            if not isinstance(error, NoScriptError):
                self._away = error
                self._give_up(items, error, failures, was_unanswered=was_unanswered)
                was_unanswered = was_unanswered or may_have_run(error)
                left = [one for place, one in enumerate(items) if place not in failures]
                if not left:
                    break
                await asyncio.sleep(min(pause(tries), max(left[0].deadline - local_time(), 0.0)))
                tries += 1
            try:
                script, keys, arguments = self._call(items)
                async with asyncio.timeout(self.patience(left)):
                    outcome = await script(self._redis, keys, arguments)
            except Exception as again:  # noqa: BLE001  # each caller gets its own
                error = again
            else:
                answers = self.answers(items, outcome)
                return [failures.get(place, answer) for place, answer in enumerate(answers)]
        return [failures[place] for place in range(len(items))]

    def _give_up(
        self, items: Sequence[Sending], error: Exception, failures: dict[int, BaseException], *, was_unanswered: bool
    ) -> None:
        """Fail those whose time is over, or all where Redis refuses the batch; what failed is not sent any more."""
        now, is_passing = local_time(), is_outage(error)
        problem = reason(error)
        if is_passing:
            problem += f" (tried for {self._deadline:g} s{_doubt(error, was_unanswered=was_unanswered)})"
        elif was_unanswered:
            problem += f" ({_DOUBT_OF_EARLIER})"
        for place, one in enumerate(items):
            if place not in failures and (not is_passing or one.deadline <= now or one.is_given_up):
                failures[place] = self._failure(one, problem)
                one.is_given_up = True

    def _full(self, sending: Sending, what: str) -> QueueFullError:
        where = (
            f"{self._limit} tasks are delayed"
            if what == "delayed"
            else f"queue {sending.queue!r} has {self._limit} tasks"
        )
        return QueueFullError(
            problem=f"task {sending.task_id} was not sent: {where}, as many as TASKS_QUEUE_LIMIT (queue_limit) allows"
        )

    def _failure(self, sending: Sending, problem: str) -> SendFailedError:
        return SendFailedError(problem=f"task {sending.task_id} was not sent to Redis at {self._address}: {problem}")

    def _call(self, batch: Sequence[Sending]) -> tuple[Script[_Answers], list[str], list[Value]]:
        """The script that sends a batch, its keys and its arguments."""
        if len(batch) == 1 and batch[0].is_plain:
            # As most are that are sent one by one, and so waited for.
            keys = [self._key, self._keys.uniques, batch[0].stream]
            return _SEND_PLAIN, keys, [self._number, _REMEMBERED_MS, self._limit, len(keys), 1, batch[0].message]
        streams = list(dict.fromkeys([one.stream for one in batch]))
        arguments: list[Value] = [self._number, _REMEMBERED_MS, self._limit]
        if {one.is_plain for one in batch} == {True}:
            keys = [self._key, self._keys.uniques]
            for stream, group in groupby(batch, key=_stream_of):
                messages = [one.message for one in group]
                arguments += (streams.index(stream) + len(keys) + 1, len(messages), *messages)
            return _SEND_PLAIN, keys + streams, arguments
        keys = [self._key, *self._keys.shared]
        results = list(dict.fromkeys(self._keys.result(one.task_id) for one in batch if one.is_anew))
        places = {key: place for place, key in enumerate([*keys, *streams, *results], 1)}
        for (stream, is_plain), run in groupby(batch, key=lambda one: (one.stream, one.is_plain)):
            if is_plain:
                messages = [one.message for one in run]
                arguments += (places[stream], len(messages), *messages)
                continue
            for one in run:
                arguments += self._arguments_of(one, places)
        return _SEND, [*keys, *streams, *results], arguments

    def _arguments_of(self, one: Sending, places: Mapping[str, int]) -> Sequence[Value]:
        if one.is_given_up:
            return (0, 1)
        when: Value = round(one.delay * 1000) if one.due is None else f"@{round(one.due * 1000)}"
        result = places[self._keys.result(one.task_id)] if one.is_anew else 0
        return (places[one.stream], 0, when, one.unique, one.task_id, one.message, result, one.send)


def _stream_of(sending: Sending) -> str:
    return sending.stream


def _doubt(error: Exception, *, was_unanswered: bool) -> str:
    """What is said of tries that may have been run, the last of which has ended with `error`."""
    if may_have_run(error):
        return "; the last try may still arrive"
    return f"; {_DOUBT_OF_EARLIER}" if was_unanswered else ""
