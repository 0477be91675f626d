"""A program of the version before that sends: its script, frozen beside this, called as its Python did."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from redis.exceptions import RedisError
from tests.simulation.version_n.worker import Host, OldScript, Value

from kiqstart.broker.keys import QueueKeys

_SEND: Final = OldScript("send")
_SECONDS_FOR_AN_ANSWER: Final = 5.0
_SECONDS_BETWEEN_TRIES: Final = 0.5
_REMEMBERED_MS: Final = 3_600_000
_STREAM: Final = 5


@dataclass(frozen=True, kw_only=True)
class OldMessage:
    """What is sent.

    Args:
        delay: in seconds.
        data: its message, as a worker is given it.
    """

    task_id: str
    queue: str
    unique: str
    delay: float
    data: bytes


class OldSender:
    """Sends one message at a time.

    Args:
        name: of this one and no other.
        deadline: seconds for which it tries.
    """

    def __init__(self, host: Host, name: str, keys: QueueKeys, *, deadline: float) -> None:
        self._host = host
        self._name = name
        self._keys = keys
        self._deadline = deadline
        self._redis = host.client(_SECONDS_FOR_AN_ANSWER)
        self._number = 0

    def send(self, message: OldMessage, tell: Callable[[str], None]) -> None:
        """Send it in a thread; `tell` is given the task that has its unique key, or its own; '' for a failure."""
        self._host.start_thread(lambda: tell(self._send(message)))

    def _send(self, message: OldMessage) -> str:
        self._number += 1
        names, until = self._keys, self._host.local_time() + self._deadline
        keys = [names.sender(self._name), names.uniques, names.delayed, names.delayed_messages]
        arguments: list[Value] = [self._number, _REMEMBERED_MS, _STREAM]
        if message.unique or message.delay:
            arguments += [0, round(message.delay * 1000), message.unique, message.task_id, message.data]
        else:
            arguments += [1, message.data]
        is_repeated = False
        while True:
            try:
                answer = _SEND(self._redis, [*keys, names.stream(message.queue)], arguments, self._host.now())
            except RedisError:
                if self._host.local_time() > until:
                    return ""
                is_repeated = True
                self._host.sleep(_SECONDS_BETWEEN_TRIES)
            else:
                return _told(cast("list[object]", answer), message, is_repeated=is_repeated)


def _told(answer: list[object], message: OldMessage, *, is_repeated: bool) -> str:
    if is_repeated and message.unique:
        # Of a batch that it knows, this version forgets who held a key and tells who does now: nobody can rely on it.
        return ""
    if not answer:
        return message.task_id
    return cast("bytes", answer[2]).decode() if answer[1] == b"held" else ""
