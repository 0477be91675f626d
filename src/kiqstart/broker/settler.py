"""Ends deliveries: acknowledges, deletes, stores the result and what follows, in one step and many at once."""

import asyncio
from collections.abc import Awaitable, Sequence
from itertools import groupby
from logging import getLogger
from typing import Final, cast

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from kiqstart.broker.batcher import Batches, Work
from kiqstart.broker.delivery import DONE, Again, Dead, Delivery, Done, Left
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.letter_text import kept_detail
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.redis_retry import may_pass, pause, reason
from kiqstart.broker.redis_text import raw_name
from kiqstart.broker.results import encode_failure
from kiqstart.broker.run_record import RunRecorder
from kiqstart.broker.run_stats import Outcome, outcome_of
from kiqstart.broker.script import Script
from kiqstart.redis.commands import ScriptClient, Value
from kiqstart.tasks.labels import bounded_delay
from kiqstart.tasks.results.errors import TaskCancelledError
from kiqstart.tasks.sealing.secrets import NO_SECRETS, Secrets
from kiqstart.tasks.sizes import kept_of

logger = getLogger(__name__)

# The places of deliveries that are others' by now; of those that Redis refuses in turn the place and why.
_Settled = tuple[list[int], list[int | bytes]]
_SETTLE: Final = Script[_Settled]("settle")
_LOUD_TRIES: Final = 3
_TRIES_OF_LARGE: Final = 4
# Bytes of results from which on a connection that is closed again and again may be closed because of them.
_LARGE: Final = 1024 * 1024


class Settler(Work[Delivery, bool, _Settled]):
    """Settles deliveries, however long Redis is away: what has run must not run again for want of an answer.

    Args:
        redis: an async client.
        keys: the queue's names.
        group: the consumer group.
        options: how many dead letters and ended runs are kept.
        result_ttl: seconds for which a result is kept; None for ever.
        recorder: writes what is kept of ended runs.
        secrets: encrypts what letters say.
        large: another client, for deliveries whose results are large.
    """

    def __init__(
        self,
        redis: ScriptClient,
        keys: QueueKeys,
        *,
        group: str,
        options: StreamOptions,
        result_ttl: float | None,
        recorder: RunRecorder,
        secrets: Secrets = NO_SECRETS,
        large: ScriptClient | None = None,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._group = group
        self._options = options
        self._result_ms = round(result_ttl * 1000) if result_ttl else 0
        self._recorder = recorder if options.runs_kept else None
        self._secrets = secrets
        way = None
        if large is not None:
            way = Settler(
                large, keys, group=group, options=options, result_ttl=result_ttl, recorder=recorder, secrets=secrets
            )
        self._batches: Batches[Delivery, bool, _Settled] = Batches(self, _bytes_of, large_work=way)

    def settle(self, delivery: Delivery) -> Awaitable[Sequence[bool | BaseException]]:
        """Apply the delivery's outcome and result.

        Gives, for this one delivery, False where another worker has the task by now, or the `RedisError` with which
        Redis refuses it for good; it is then left to the next worker.
        """
        return self._batches.add_all((delivery,))

    async def drain(self) -> None:
        """Wait for what is under way."""
        await self._batches.drain()

    def begin(self, items: Sequence[Delivery]) -> Awaitable[_Settled]:
        """Settle a batch for the first time."""
        return _SETTLE.begin(self._redis, *self._call(items))

    def answers(self, items: Sequence[Delivery], outcome: _Settled) -> Sequence[bool | BaseException]:
        """Whether each delivery was still this worker's; or the error with which Redis refuses it."""
        lost, refused = outcome
        answers: list[bool | BaseException] = [True] * len(items)
        for place in lost:
            answers[place - 1] = False
        for refused_place, problem in zip(refused[::2], refused[1::2], strict=True):
            text = cast("bytes", problem).decode(errors="replace")
            answers[cast("int", refused_place) - 1] = ResponseError(text)
        return answers

    async def mend(self, items: Sequence[Delivery], error: Exception) -> Sequence[bool | BaseException]:
        """Settle a batch again until Redis answers; where it refuses the batch, each delivery by itself."""
        tries = 0
        while may_pass(error) or isinstance(error, NoScriptError):
            if may_pass(error):
                tries += 1
                for one in items:
                    one.is_unanswered = True
                if tries >= _TRIES_OF_LARGE and await self._is_too_large(items, error):
                    break
                if tries == _LOUD_TRIES:
                    logger.warning("Results wait for Redis, %d of them: %s", len(items), reason(error))
                await asyncio.sleep(pause(tries))
            try:
                outcome = await _SETTLE(self._redis, *self._call(items))
            except Exception as again:  # noqa: BLE001  # looked at by the loop
                error = again
            else:
                answers = self.answers(items, outcome)
                # After a try without an answer, "no longer yours" may be that try's own doing.
                return [answer or True for answer in answers] if tries else answers
        if len(items) == 1:
            return [error]
        return [(await self._settle_alone(item))[0] for item in items]

    async def _is_too_large(self, items: Sequence[Delivery], error: Exception) -> bool:
        """Whether Redis closes the connection for that alone, as it does beyond its `proto-max-bulk-len`."""
        if sum(len(one.result) for one in items) < _LARGE or not isinstance(error, RedisConnectionError):
            return False
        try:
            await self._redis.execute_command("PING")
        except Exception as away:  # noqa: BLE001  # whatever it is, Redis is away
            logger.debug("Redis is away: %s", reason(away))
            return False
        return True

    async def _settle_alone(self, item: Delivery) -> Sequence[bool | BaseException]:
        try:
            return self.answers([item], await _SETTLE(self._redis, *self._call([item])))
        except Exception as error:  # noqa: BLE001  # looked at there
            return await self.mend([item], error)

    def _call(self, batch: Sequence[Delivery]) -> tuple[list[str], list[Value]]:
        names, recorder = self._keys, self._recorder
        keys = [names.epoch, *names.shared]
        arguments: list[Value] = [self._group, self._options.dead_letter_limit, self._result_ms, names.channel_suffix]
        arguments.append(self._options.runs_kept)
        for (stream, epoch, worker, kind), group in groupby(batch, key=_kind):
            run = list(group)
            is_repeated = 1 if any(one.is_unanswered for one in run) else ""
            if isinstance(kind, Delivery):
                keys += [stream, self._target(kind), names.result(kind.task_id)]
                block = recorder.block(kind) if recorder is not None else b""
                arguments += [0, raw_name(epoch), worker, is_repeated, block]
                arguments += [kind.send, kind.task_id, kind.fields.get("unique", ""), *self._outcome(kind)]
                arguments += [kind.entry, kind.result]
                continue
            for part, block in recorder.blocks(run) if recorder is not None else [(run, b"")]:
                keys.append(stream)
                arguments += [len(part), raw_name(epoch), worker, is_repeated, block]
                for one in part:
                    arguments += [one.entry, one.result]
                    if one.result:
                        keys.append(names.result(one.task_id))
        return keys, arguments

    def _target(self, delivery: Delivery) -> str:
        if isinstance(delivery.outcome, Left):
            return self._keys.misfits(delivery.queue)
        is_first = isinstance(delivery.outcome, Again) and delivery.outcome.is_first
        return self._keys.returned(delivery.queue) if is_first else self._keys.stream(delivery.queue)

    def _outcome(self, delivery: Delivery) -> list[Value]:
        match delivery.outcome:
            case Again(message=message, delay=delay, send=send):
                cancelled = encode_failure(TaskCancelledError(delivery.task_id))
                return ["again", message, round(bounded_delay(delay) * 1000), cancelled, send or delivery.send, ""]
            case Left(message=message, task_name=name, tried=tried, held_by=held_by):
                cancelled = encode_failure(TaskCancelledError(delivery.task_id))
                why = "\n".join([" ".join(tried), *([held_by] if held_by else [])])
                return ["left", message, raw_name(why), cancelled, delivery.queue, name]
            case Dead(reason=why, detail=detail, message=message):
                kept = self._secrets.hide_detail(kept_detail(detail))
                return ["dead", kept_of(message), why.value, kept, delivery.deliveries + 1, delivery.first]
            case _:
                return ["done", "", "", "", "", ""]


def _kind(delivery: Delivery) -> tuple[str, str, str, Outcome | Delivery | None]:
    """What may stand together: all of one stream that have simply ended alike, and each other one alone."""
    message = delivery.message
    is_latest = message is None or not message.labels or not delivery.send
    is_plain = delivery.outcome is DONE and is_latest and not (delivery.fields or delivery.is_early)
    return delivery.stream, delivery.epoch, delivery.worker, outcome_of(delivery) if is_plain else delivery


def _bytes_of(delivery: Delivery) -> int:
    outcome, lines = delivery.outcome, delivery.lines
    size = len(delivery.result) + (0 if lines is None else lines.size)
    return size + (0 if outcome is DONE or isinstance(outcome, Done) else len(outcome.message))
