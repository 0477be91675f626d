"""Makes a dead letter of a task whose workers have died of it, and tells its caller."""

from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from typing import Final

from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import raw_name, shown_fields, text_of_name, whole_number
from kiqstart.broker.results import encode_failure
from kiqstart.broker.run_record import block_of_condemned
from kiqstart.broker.script import Script
from kiqstart.redis.commands import BlockingCommands, Value
from kiqstart.tasks.messages import send_in
from kiqstart.tasks.results.errors import WorkerLostError
from kiqstart.tasks.sizes import kept_of

logger = getLogger(__name__)

_CONDEMN: Final = Script[int]("condemn")


class Condemnation:
    """Ends a delivery of a worker that is gone: letter, result and release of its unique key are one step.

    Args:
        redis: a client that blocks.
        group: the consumer group.
        task_id_of: gives the task of a message, None where it cannot be read.
        result_ttl: seconds for which the result is kept; None for ever.
        on_condemned: is given the task, for a result backend that is not the broker's own.
    """

    def __init__(
        self,
        redis: BlockingCommands,
        keys: QueueKeys,
        *,
        group: str,
        options: StreamOptions,
        task_id_of: Callable[[bytes], str | None],
        result_ttl: float | None,
        on_condemned: Callable[[str], None],
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._group = group
        self._options = options
        self._task_id_of = task_id_of
        self._result_ms = round(result_ttl * 1000) if result_ttl else 0
        self._on_condemned = on_condemned

    def __call__(self, queue: str, stream: str, worker: str, entry: str, deaths: int, raw: Sequence[bytes]) -> bool:
        """Condemn an entry that is pending with a worker that is gone; False where another process has done so."""
        fields = dict(zip(raw[::2], raw[1::2], strict=True))
        data = kept_of(fields[b"data"] if b"data" in fields else shown_fields(fields))
        task_id = self._task_id_of(data)
        result = encode_failure(WorkerLostError(task_id)) if task_id is not None else b""
        keys = [self._keys.workers, stream, self._keys.result(task_id or "")]
        name = raw_name(worker)
        detail = f"its worker died {deaths} times while it had this task; the last one was {worker}"
        arguments: list[Value] = [self._group, name, entry, self._options.dead_letter_limit, self._keys.stream(queue)]
        arguments += [DeadLetterReason.WORKER_LOST.value, raw_name(detail), deaths, data]
        arguments += [_text(fields, b"task") or (task_id or "").encode(), _text(fields, b"unique"), result]
        arguments += [self._result_ms, self._keys.channel_suffix, send_in(data), self._options.runs_kept]
        block = block_of_condemned(
            queue=queue,
            worker=worker,
            info=self._info_of(worker),
            sent=str(whole_number(text_of_name(_text(fields, b"first")), int(entry.partition("-")[0]))),
            deaths=deaths,
            data=data,
            detail=detail,
        )
        arguments.append(block)
        is_new = bool(_CONDEMN.in_thread(self._redis, [*keys, *self._keys.shared], arguments))
        if is_new:
            logger.error("Task %s went down with its worker too often and is a dead letter", task_id)
            if task_id is not None:
                self._on_condemned(task_id)
        return is_new

    def _info_of(self, worker: str) -> bytes:
        info: bytes | None = None
        with without_foreign_keys():
            info = self._redis.hget(self._keys.worker_info, raw_name(worker))
        return info or b""


def _text(fields: Mapping[bytes, bytes], name: bytes) -> bytes:
    return fields.get(name, b"")
