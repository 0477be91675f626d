"""The form of a task's arguments.

A value that is a secret is in no page and no address: the one of a parameter with a secret's name is asked for with the
question, and any other that redaction would change is asked for once more there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Final, Literal, Self, Union, get_args, get_origin
from uuid import UUID

from taskiq import AsyncTaskiqDecoratedTask

from kiqstart.dashboard.visits import InvalidFormError
from kiqstart.observability.redaction import redact
from kiqstart.operations.call_options import MISSING, CallError, CallOption, call_of, call_options, plain_annotation
from kiqstart.operations.schedule_wording import shown_arguments
from kiqstart.operations.sending import NotRunError
from kiqstart.tasks.arguments import TaskArguments, task_arguments
from kiqstart.tasks.errors import UnsupportedTaskError

_PREFIX: Final = "argument_"
_NEEDED: Final = "needed"
# Whose values stand in a line; others are JSON.
_IN_A_LINE: Final = (
    str,
    int,
    float,
    bool,
    NoneType,
    Decimal,
    UUID,
    date,
    datetime,
    time,
    timedelta,
)


@dataclass(frozen=True, kw_only=True)
class CallField:
    """An argument, and what somebody has typed for it.

    Args:
        text: '' leaves the argument out.
        is_needed: whether it may not be left out.
        problem: why the text is no value of it; '' if it is.
    """

    option: CallOption
    text: str
    is_needed: bool
    problem: str = ""

    @property
    def name(self) -> str:
        """That of the form's field."""
        return _PREFIX + self.option.name

    @property
    def is_secret(self) -> bool:
        """Whether what was typed is not to be shown."""
        return self.option.is_secret or redact(self.text) != self.text

    @property
    def choices(self) -> Sequence[str]:
        """The texts to choose from; none where any may be typed."""
        hint = plain_annotation(self.option.hint)
        if hint is bool:
            return ("true", "false")
        values = [one.value for one in hint] if isinstance(hint, type) and issubclass(hint, Enum) else ()
        values = get_args(hint) if get_origin(hint) is Literal else values
        return values if all(isinstance(one, str) for one in values) else ()

    @property
    def has_lines(self) -> bool:
        """Whether it takes JSON, or a value a line."""
        return self.option.takes_many or not _is_in_a_line(plain_annotation(self.option.hint))

    @property
    def hint(self) -> str:
        """What it takes, as the signature says."""
        return f"{self.option.described}; a value a line" if self.option.takes_many else self.option.described

    @property
    def given(self) -> object:
        """What stands for it in a call."""
        if not self.text:
            return MISSING
        return self.text.splitlines() if self.option.takes_many else self.text

    def checked(self, arguments: TaskArguments) -> "CallField":
        """The same, with what is wrong with its text."""
        if not self.text:
            problem = f"the following arguments are required: {self.option.flag}" if self.is_needed else ""
            return replace(self, problem=problem)
        try:
            call_of(arguments, [(self.option, self.given)])
        except CallError as error:
            return replace(self, problem=str(error))
        return self


@dataclass(frozen=True, kw_only=True)
class CallForm:
    """A task's arguments as somebody has typed them."""

    task: AsyncTaskiqDecoratedTask[..., object]
    arguments: TaskArguments
    fields: Sequence[CallField]

    @classmethod
    def of(cls, task: AsyncTaskiqDecoratedTask[..., object], typed: Mapping[str, str]) -> Self:
        """Read a form, or the query of an address.

        Raises:
            NotRunError: the task cannot be called, or has no such argument.
            InvalidFormError: a value is no UTF-8.
        """
        try:
            arguments = task_arguments(task.original_func)
        except UnsupportedTaskError as error:
            raise NotRunError(f"{task.task_name}: {error}") from None
        texts = {name.removeprefix(_PREFIX): _text(one) for name, one in typed.items() if name.startswith(_PREFIX)}
        needed = typed.get(_NEEDED, "").split()
        fields = [
            CallField(
                option=one, text=texts.pop(one.name, ""), is_needed=one.is_required or _PREFIX + one.name in needed
            )
            for one in call_options(arguments)
        ]
        if texts:
            # It may have had one when the form was loaded.
            raise NotRunError(f"{task.task_name} takes no argument {next(iter(texts))!r:.200}")
        return cls(task=task, arguments=arguments, fields=fields)

    def checked(self, *, with_secrets: bool) -> "CallForm":
        """The same, with what is wrong with each; secrets that are asked for later may be missing unless they count."""
        return self._with_each(
            lambda one: one if not (with_secrets or one.text) and one.option.is_secret else one.checked(self.arguments)
        )

    @property
    def is_wrong(self) -> bool:
        """Whether something is."""
        return any(one.problem for one in self.fields)

    @property
    def asked_first(self) -> Sequence[CallField]:
        """What the form has, before the question."""
        return [one for one in self.fields if not one.option.is_secret]

    @property
    def asked_last(self) -> Sequence[CallField]:
        """The secrets, which the question asks for."""
        return [one for one in self.fields if one.is_secret]

    @property
    def hidden(self) -> Sequence[tuple[str, str]]:
        """What the question sends along: names and values of fields."""
        needed = " ".join(one.name for one in self.asked_last if one.is_needed or one.text)
        kept = [(one.name, one.text) for one in self.fields if one.text and not one.is_secret]
        return [*kept, (_NEEDED, needed)]

    def call(self) -> tuple[tuple[object, ...], dict[str, object]]:
        """The positional and named arguments.

        Raises:
            CallError: a text is no value of its argument.
        """
        return call_of(self.arguments, [(one.option, one.given) for one in self.fields])

    @property
    def described(self) -> str:
        """As it is written: `session.cleanup(days_old=7)`; secrets by their names alone."""
        return f"{self.task.task_name}({', '.join(self._described())})"

    def _described(self) -> Iterator[str]:
        shown = [one for one in self.fields if one.text and not one.is_secret]
        yield from shown_arguments(*call_of(self.arguments, [(one.option, one.given) for one in shown]))
        for one in self.asked_last:
            if one.is_needed or one.text:
                yield f"{one.option.name}=***"

    def _with_each(self, change: Callable[[CallField], CallField]) -> "CallForm":
        return replace(self, fields=[change(one) for one in self.fields])


def _is_in_a_line(hint: object) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return all(_is_in_a_line(plain_annotation(one)) for one in get_args(hint))
    return any(hint is one for one in _IN_A_LINE) or (isinstance(hint, type) and issubclass(hint, Enum))


def _text(typed: str) -> str:
    try:
        typed.encode()
    except UnicodeEncodeError:
        raise InvalidFormError("what was sent is no UTF-8") from None
    # As a form sends the ends of lines.
    return typed.replace("\r\n", "\n")
