"""What workers run just now, and how far that is.

A worker says it with its beats, in one field of a hash, and only while something has run for a second or reports how
far it is; so it costs no command per task, and none while tasks are short. What is said names each run by its entry in
a stream: an entry that is another worker's by now has another id, so nobody takes a lost worker's word for it. Fields
of workers that are gone go with the worker; all of them an hour after the last one has spoken.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Final, cast

from redis.exceptions import ResponseError

from kiqstart.broker.delivery import Delivery
from kiqstart.broker.in_flight import InFlightDeliveries
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import Lease
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import raw_name
from kiqstart.broker.registrar import Registrar
from kiqstart.broker.script import Script
from kiqstart.clock import local_time
from kiqstart.observability.redaction import redact
from kiqstart.redis.commands import AsyncCommands, BlockingCommands
from kiqstart.tasks.progress import LONGEST_TEXT, Progress, finite_number
from kiqstart.tasks.sealing.secrets import NO_SECRETS, Secrets

_SAY_RUNNING: Final = Script[int]("say_running")
_KEEP_MS: Final = 3_600_000
# What has not changed is said again so that it is not forgotten.
_SECONDS_TO_REPEAT: Final = 600.0
# What is shorter is not worth a command.
_SHORTEST: Final = 1.0
_MOST_SAID: Final = 100
_LONGEST_NAME: Final = 200
# In place of what Redis has of this worker; what is said is JSON or nothing.
_UNKNOWN: Final = "?"


@dataclass(frozen=True, kw_only=True)
class RunningTask:
    """A task that runs.

    Args:
        entry: the message's entry and stream, by which this run is told from another one of the task.
        progress: None where it does not report any.
        is_blocking: whether it is what blocks its worker's event loop.
    """

    entry: str
    task: str
    task_id: str
    began: datetime
    progress: Progress | None = None
    is_blocking: bool = False


class RunningReport:
    """Says what this worker runs; in the lease's thread.

    Args:
        redis: a client that blocks.
        secrets: encrypts what tasks say in words.
    """

    def __init__(
        self,
        redis: BlockingCommands,
        keys: QueueKeys,
        *,
        in_flight: InFlightDeliveries,
        lease: Lease,
        registrar: Registrar,
        secrets: Secrets = NO_SECRETS,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._in_flight = in_flight
        self._lease = lease
        self._registrar = registrar
        # The same words are the same text again, which is not said anew.
        self._hidden = lru_cache(maxsize=_MOST_SAID)(partial(_hidden, secrets))
        self._said = ("", "")
        self._said_at = float("-inf")

    def say(self, blocking: Delivery | None = None) -> None:
        """Say it where it has changed. What Redis refuses, as one that is full does, is said by a later call.

        Args:
            blocking: the one that blocks the event loop, where that is known.
        """
        now, worker = local_time(), self._lease.worker
        text = self._text(now, blocking)
        if (worker, text) == self._said and (not text or now - self._said_at < _SECONDS_TO_REPEAT):
            return
        if not text and self._said[0] != worker:
            return
        # Until Redis has answered, nobody knows what it has; above all that there is nothing is then to be said.
        self._said = (worker, _UNKNOWN)
        with suppress(ResponseError):
            _SAY_RUNNING.in_thread(
                self._redis, [self._keys.workers, self._keys.running], [raw_name(worker), text, _KEEP_MS]
            )
            self._said, self._said_at = (worker, text), now

    def say_anew(self) -> None:
        """Say with the next call what runs, or that nothing does: Redis has come back with older data."""
        self._said = (self._lease.worker, _UNKNOWN)

    def _text(self, now: float, blocking: Delivery | None) -> str:
        if not len(self._in_flight):
            return ""
        running = [
            one for one in self._in_flight.all() if _is_running(one) and (one is blocking or _is_worth_it(one, now))
        ]
        running.sort(key=lambda one: (one is not blocking, one.progress is None, one.began_at))
        return json.dumps([self._fields(one, blocking) for one in running[:_MOST_SAID]]) if running else ""

    def _fields(self, delivery: Delivery, blocking: Delivery | None) -> dict[str, object]:
        message = delivery.message
        fields: dict[str, object] = {
            "entry": delivery.mark,
            "task": "" if message is None else message.task_name[:_LONGEST_NAME],
            "id": delivery.task_id[:_LONGEST_NAME],
            "began": self._registrar.to_redis_ms(delivery.began_at or 0.0),
        }
        if delivery is blocking:
            fields["blocks"] = True
        if delivery.progress is not None:
            done, total, text = delivery.progress
            fields |= {
                "done": finite_number(done),
                "total": finite_number(total),
                "text": self._hidden(redact(str(text))[:LONGEST_TEXT]),
            }
        return fields


def running_of(said: bytes, secrets: Secrets = NO_SECRETS) -> Sequence[RunningTask]:
    """What a worker has said that it runs, the longest first; nothing of what is no such text."""
    found: object = None
    with suppress(ValueError, RecursionError):
        found = json.loads(said)
    entries = cast("list[object]", found) if isinstance(found, list) else []
    tasks = [
        _task_of(cast("Mapping[str, object]", one), secrets) for one in entries[:_MOST_SAID] if isinstance(one, dict)
    ]
    return sorted((one for one in tasks if one is not None), key=lambda one: one.began)


async def read_running(
    redis: AsyncCommands, keys: QueueKeys, secrets: Secrets = NO_SECRETS
) -> Mapping[bytes, Sequence[RunningTask]]:
    """What each worker has said that it runs, by its name: what has run for a second, or reports how far it is."""
    said: dict[bytes, bytes] = {}
    with without_foreign_keys():
        said = await redis.hgetall(keys.running)
    return {worker: running_of(text, secrets) for worker, text in said.items()}


def _is_running(delivery: Delivery) -> bool:
    return delivery.began_at is not None and not (delivery.has_run or delivery.is_lost)


def _is_worth_it(delivery: Delivery, now: float) -> bool:
    return delivery.progress is not None or now - (delivery.began_at or now) >= _SHORTEST


def _hidden(secrets: Secrets, text: str) -> str:
    return secrets.hide_detail(text.encode(errors="backslashreplace")).decode() if secrets.encrypts else text


def _shown(secrets: Secrets, text: str) -> str:
    raw = text.encode(errors="surrogatepass")
    found = secrets.show_detail(raw)
    return (text if found is raw else found.decode(errors="replace"))[:LONGEST_TEXT]


def _task_of(fields: Mapping[str, object], secrets: Secrets) -> RunningTask | None:
    with suppress(KeyError, ValueError, TypeError, OverflowError, OSError):
        done = fields.get("done")
        total = finite_number(fields.get("total"))
        return RunningTask(
            entry=str(fields["entry"]),
            task=str(fields["task"]),
            task_id=str(fields["id"]),
            began=datetime.fromtimestamp(cast("float", fields["began"]) / 1000, UTC),
            progress=None
            if done is None
            else Progress(
                done=finite_number(done) or 0.0, total=total, text=_shown(secrets, str(fields.get("text", "")))
            ),
            is_blocking=fields.get("blocks") is True,
        )
    return None
