"""How runs that have ended are written: in blocks of many, made by the worker and added to a stream by settle.lua.

A block is of runs that ended alike, in one queue and one worker, in one step, so that a task costs Redis no command of
its own. It begins with a line of what they have in common. Then come the runs, each a line of facts, the first bytes of
its message and of its result, and the last ones of what it has raised and of what it has logged, of each as many as the
line says:

    1f default kiq-9c…-5000 host:4711      version and a letter for how they ended, queue, worker, and where that is
    1701250000000-0 1701250000012 53211 2 0 310 96 0 180
    |               |             |     | | |   |  | bytes of what it has logged; not written where that is nothing
    |               |             |     | | |   |  bytes of what it has raised
    |               |             |     | | |   bytes of its result
    |               |             |     | | bytes of its message
    |               |             |     | worker crashes before
    |               |             |     which try
    |               |             microseconds that its function took
    |               when it began, in milliseconds of Redis' clock; 0 if it did not
    when it was sent first
"""

import json
import os
import re
import socket
from collections.abc import Callable, Sequence
from typing import Final

from taskiq import TaskiqMessage

from kiqstart.broker.delivery import Dead, Delivery
from kiqstart.broker.letter_text import kept_detail
from kiqstart.broker.redis_text import raw_name
from kiqstart.broker.run_stats import Outcome, outcome_of
from kiqstart.broker.worker_info import place_of
from kiqstart.tasks.label_values import RETRIES_LABEL, retries_of
from kiqstart.tasks.messages import beginning_of
from kiqstart.tasks.sealing.secrets import NO_SECRETS, Secrets

MESSAGE_BYTES: Final = 2048
"""Of a message; its id and its task's name are kept in any case."""
RESULT_BYTES: Final = 1024
ERROR_BYTES: Final = 4096
"""Of what a run has raised: the end of a traceback says most."""
BLOCK_BYTES: Final = 64 * 1024
"""From which on a block is written as two, so that who reads some reads no more than that."""

LETTERS: Final = {
    Outcome.SUCCEEDED: "s",
    Outcome.FAILED: "f",
    Outcome.RETRIED: "r",
    Outcome.DEAD: "d",
    Outcome.CANCELLED: "c",
}
# What is left to other workers has not ended, unless settle.lua finds that it was cancelled meanwhile.
_LEFT: Final = "l"
IN_COMMON: Final = re.compile(rb"1([sfrdc]) ([^ \n]{1,1000}) ([^ \n]{1,1000}) ([^ \n]{0,1000}):([0-9]{1,10})\n")
FACTS: Final = re.compile(
    rb"([0-9]{1,19})(?:-[0-9]{1,19})? ([0-9]{1,15}) ([0-9]{1,15}) ([0-9]{1,9}) ([0-9]{1,9}) ([0-9]{1,9}) ([0-9]{1,9}) "
    rb"([0-9]{1,9})(?: ([0-9]{1,9}))?\n"
)


class RunRecorder:
    """Writes them in a worker.

    Args:
        to_redis_ms: turns a `local_time` into milliseconds of Redis' clock.
        secrets: encrypts what was raised.
    """

    def __init__(self, to_redis_ms: Callable[[float], int], secrets: Secrets = NO_SECRETS) -> None:
        self._to_redis_ms = to_redis_ms
        self._secrets = secrets
        self._place = f"{_one_word(socket.gethostname())}:{os.getpid()}"

    def blocks(self, run: Sequence[Delivery]) -> list[tuple[Sequence[Delivery], bytes]]:
        """Parts of a run of deliveries that have succeeded, failed or were cancelled alike, each with its block."""
        first = run[0]
        offset = self._to_redis_ms(0.0)
        parts = [self._in_common(first)]
        for one in run:
            data, result, began_at, message = one.data, one.result, one.began_at, one.message
            data_bytes, result_bytes = len(data), len(result)
            if data_bytes > MESSAGE_BYTES or data[:1] != b"{":
                data = _beginning(data, message)
                data_bytes = len(data)
            if result_bytes > RESULT_BYTES:
                result, result_bytes = result[:RESULT_BYTES], RESULT_BYTES
            is_retry = message is not None and RETRIES_LABEL in message.labels
            if one.problem or one.lines or began_at is None or is_retry:
                parts += self._run(one, data, result, one.problem)
                continue
            began_ms, took = offset + int(began_at * 1000), int(one.seconds * 1e6)
            parts += (
                f"{one.entry} {began_ms} {took} 1 {one.deliveries} {data_bytes} {result_bytes} 0\n".encode(),
                data,
                result,
            )
        block = b"".join(parts)
        if len(block) <= BLOCK_BYTES or len(run) == 1:
            return [(run, block)]
        half = len(run) // 2
        return [*self.blocks(run[:half]), *self.blocks(run[half:])]

    def block(self, delivery: Delivery) -> bytes:
        """The block of a single delivery, whatever becomes of it."""
        outcome = delivery.outcome
        problem = delivery.problem or (outcome.detail if isinstance(outcome, Dead) else "")
        data, result = _beginning(delivery.data, delivery.message), delivery.result[:RESULT_BYTES]
        return b"".join((self._in_common(delivery), *self._run(delivery, data, result, problem)))

    def _in_common(self, one: Delivery) -> bytes:
        outcome = outcome_of(one)
        letter = _LEFT if outcome is None else LETTERS[outcome]
        return raw_name(f"1{letter} {one.queue} {one.worker} {self._place}\n")

    def _run(self, one: Delivery, data: bytes, result: bytes, problem: str) -> Sequence[bytes]:
        raised = self._secrets.hide_detail(kept_detail(problem)[-ERROR_BYTES:])
        logged = self._secrets.hide_detail(one.lines.text()) if one.lines is not None else b""
        began_ms = 0 if one.began_at is None else self._to_redis_ms(one.began_at)
        tries = retries_of(one.message) + 1 if one.message is not None else 1
        facts = f"{one.first} {began_ms} {int(one.seconds * 1e6)} {tries} {one.deliveries}"
        sizes = f"{len(data)} {len(result)} {len(raised)}{f' {len(logged)}' if logged else ''}"
        return raw_name(f"{facts} {sizes}\n"), data, result, raised, logged


def block_of_condemned(
    *, queue: str, worker: str, info: bytes, sent: str, deaths: int, data: bytes, detail: str
) -> bytes:
    """The block of a task that its workers have died of, written by another one.

    Args:
        queue: where it waited.
        worker: the last of them.
        info: what that one has said of itself.
        sent: the entry's id, or when the message was first delivered, in milliseconds.
        deaths: how many of its workers have died, the last one included.
        data: the message.
        detail: what its dead letter says.
    """
    (host, pid), kept = place_of(info), kept_detail(detail)[-ERROR_BYTES:]
    data = _beginning(data, beginning_of(data))
    in_common = f"1{LETTERS[Outcome.DEAD]} {queue} {worker} {_one_word(host)}:{pid}\n"
    return raw_name(f"{in_common}{sent} 0 0 1 {deaths - 1} {len(data)} 0 {len(kept)}\n") + data + kept


def _one_word(host: str) -> str:
    return "".join(host.split())


def _beginning(data: bytes, message: TaskiqMessage | None) -> bytes:
    """Of a message that is too large, or no JSON: its id and its task's name, then what fits of it."""
    is_json = data[:1] == b"{"
    if message is None or (is_json and len(data) <= MESSAGE_BYTES):
        return data[:MESSAGE_BYTES]
    # As ASCII: a name may hold what UTF-8 cannot.
    names = json.dumps({"task_id": message.task_id, "task_name": message.task_name}).encode()
    return names[:-1] + b"," + data[1:MESSAGE_BYTES] if is_json else names
