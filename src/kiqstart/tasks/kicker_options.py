"""The options of one call of a task, and the message that they make of it."""

from collections.abc import Mapping
from datetime import datetime
from time import time as now
from types import MappingProxyType
from typing import Final, ParamSpec, Self, TypeVar, cast

from taskiq import AsyncBroker, TaskiqMessage
from taskiq.kicker import AsyncKicker
from taskiq.labels import LabelType, prepare_label

from kiqstart.observability.task_fields import current_run
from kiqstart.tasks.caller_types import moment, number, text
from kiqstart.tasks.colliding_keys import WITHOUT_PARTS
from kiqstart.tasks.label_values import option_problem
from kiqstart.tasks.labels import DELAY_LABEL, DUE_LABEL, MAX_DELAY_SECONDS, QUEUE_LABEL, SENT_BY_LABEL

P = ParamSpec("P")
R = TypeVar("R")

# Exceptions that are retried: the worker has them of the task itself, and taskiq sends none.
_LOCAL: Final = "types_of_exceptions"
_LABEL_TYPES: Final[Mapping[type, int]] = {
    one: LabelType[one.__name__.upper()].value for one in (int, str, float, bool)
}


class KickerOptions(AsyncKicker[P, R]):
    """A task with options of this one call."""

    # Why it cannot be sent. Only the send fails of it, and not the statement that makes several of them.
    _refusal = ""
    _given: Mapping[str, object] = MappingProxyType({})

    def with_labels(self, **labels: str | float | None) -> Self:
        """Set labels beside, or in place of, those of the task; None takes one away.

        Options of the task, such as `timeout`, `max_retries` and `retry_delay`, can be set for this call.

        Raises:
            TypeError: `queue_name` is no text, or `delay` or `due` neither a number nor a text with one.
        """
        if labels.get(QUEUE_LABEL) is not None:
            text(labels[QUEUE_LABEL], "with_labels(queue_name=…)", "a queue's name")
        for name in (DELAY_LABEL, DUE_LABEL):
            if not isinstance(labels.get(name), str | None):
                number(labels[name], f"with_labels({name}=…)", "seconds")
        self._given = {**self._given, **labels}
        super().with_labels(**cast("dict[str, str | float]", labels))
        return self

    def with_task_id(self, task_id: str | None) -> Self:
        """Give it an id of one's own. The result that an earlier task of that id has left is removed when it is sent.

        It may be any text of 1 to 8192 bytes that does not end with `__progress`; the send of another one fails.

        Raises:
            TypeError: it is no text.
        """
        if task_id is not None:
            text(task_id, "with_task_id(…)", "a task's id")
        super().with_task_id(task_id)
        return self

    def with_schedule_id(self, schedule_id: str) -> Self:
        """Name the schedule that is added.

        Raises:
            TypeError: it is no text.
        """
        super().with_schedule_id(text(schedule_id, "with_schedule_id(…)", "a schedule's name"))
        return self

    def with_broker(self, broker: AsyncBroker) -> Self:
        """Send it with another broker."""
        super().with_broker(broker)
        return self

    def after(self, seconds: float) -> Self:
        """Let it be due in a number of seconds, up to ten years; until then it waits in Redis. Zero or less is now.

        Raises:
            TypeError: it is no number.
        """
        self.labels[DELAY_LABEL] = delay = max(number(seconds, "after(…)", "seconds"), 0.0)
        if not delay <= MAX_DELAY_SECONDS:
            self._refusal = f"after({seconds}): a task can be due in at most 3650 days ({MAX_DELAY_SECONDS:.0f} s)"
        return self

    def at(self, time: datetime) -> Self:
        """Let it be due at a time, up to ten years ahead, by Redis' clock. A time that has passed is now.

        Raises:
            TypeError: it is no datetime.
            ValueError: the time has no time zone.
        """
        self.labels[DUE_LABEL] = due = max(moment(time, "at(…)").timestamp(), 0.0)
        if due - now() > MAX_DELAY_SECONDS:
            self._refusal = f"at({time}): a task can be due in at most 3650 days"
        return self

    def _prepare_message(self, *args: object, **kwargs: object) -> TaskiqMessage:
        problem = self._refusal or (self._given and option_problem(self._given))
        if problem:
            raise ValueError(problem)
        labels = self.labels
        if (sender := current_run.get()) is not None:
            labels = {SENT_BY_LABEL: sender.task_id, **labels}
        texts, types = _prepared(labels) if labels else ({}, {})
        return TaskiqMessage(
            task_id=self.broker.id_generator() if self.custom_task_id is None else self.custom_task_id,
            task_name=self.task_name,
            labels=texts,
            labels_types=types,
            args=list(map(self._prepare_arg, args)),
            kwargs={name: self._prepare_arg(one) for name, one in kwargs.items()} if kwargs else {},
        )

    @classmethod
    def _prepare_arg(cls, arg: object) -> object:
        # Most have nothing that taskiq would make something else of, and are many.
        return arg if type(arg) in WITHOUT_PARTS else super()._prepare_arg(arg)


def _prepared(labels: Mapping[str, object]) -> tuple[dict[str, str], dict[str, int]]:
    """Labels as taskiq sends them, and the numbers of their types; its own way takes several times as long."""
    texts: dict[str, str] = {}
    types: dict[str, int] = {}
    for name, label in labels.items():
        # A label of None is one that is not set; taskiq would send the text "None".
        if label is None or name == _LOCAL:
            continue
        kind = _LABEL_TYPES.get(type(label))
        texts[name], types[name] = prepare_label(label) if kind is None else (str(label), kind)
    return texts, types
