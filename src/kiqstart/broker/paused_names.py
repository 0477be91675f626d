"""What a worker knows of what is paused."""

from collections.abc import Callable, Iterable

from taskiq import TaskiqMessage

from kiqstart.broker.pauses import Pausable, calls_of, field_of
from kiqstart.broker.redis_text import text_of_name
from kiqstart.tasks.argument_texts import texts_of_call

# By the names of arguments: their texts, and the field in Redis.
_Calls = dict[tuple[str, ...], dict[tuple[str, ...], str]]


class PausedNames:
    """What a worker knows of what is paused. Both of its threads read and set it."""

    def __init__(self) -> None:
        self._fields: frozenset[str] = frozenset()
        self._calls: dict[str, _Calls] = {}

    def note(self, fields: Iterable[bytes]) -> None:
        """Take over what Redis has."""
        found = frozenset(map(text_of_name, fields))
        if found != self._fields:
            self._fields, self._calls = found, _calls_by_task(found)

    @property
    def fields(self) -> frozenset[str]:
        """The fields in Redis: something has changed where these are others."""
        return self._fields

    def has_stream(self, stream: str) -> bool:
        """Whether the queue is paused that has its new messages in this stream."""
        return bool(self._fields) and field_of(Pausable.QUEUE, stream) in self._fields

    def has_task(self, name: str) -> bool:
        """Whether a task is paused."""
        return bool(self._fields) and field_of(Pausable.TASK, name) in self._fields

    def holds(self, stream: str, name: str, held_by: str) -> bool:
        """Whether something pauses what was set aside or left: its queue, its task, or what it is held by."""
        return held_by in self._fields or self.has_task(name) or self.has_stream(stream)

    def pause_of(self, message: TaskiqMessage, function: Callable[..., object]) -> str | None:
        """What pauses a call: the field of such calls, '' where all of the task are paused; None where nothing does."""
        if not self._fields:
            return None
        if self.has_task(message.task_name):
            return ""
        for names, fields in self._calls.get(message.task_name, {}).items():
            texts = texts_of_call(function, message, names)
            if texts is not None and texts in fields:
                return fields[texts]
        return None


def _calls_by_task(fields: Iterable[str]) -> dict[str, _Calls]:
    found: dict[str, _Calls] = {}
    for field in fields:
        if (calls := calls_of(field)) is not None:
            names = tuple(sorted(calls[1]))
            texts = tuple(calls[1][name] for name in names)
            found.setdefault(calls[0], {}).setdefault(names, {})[texts] = field
    return found
