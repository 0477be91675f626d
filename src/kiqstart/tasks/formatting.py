"""Messages as JSON, written and read in one pass."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, Protocol, cast

import pydantic
import pydantic_core
from taskiq import AsyncBroker, BrokerMessage, TaskiqMessage
from taskiq.abc.serializer import TaskiqSerializer
from taskiq.formatters.proxy_formatter import ProxyFormatter
from taskiq.labels import LabelType
from taskiq.serializers import JSONSerializer, ORJSONSerializer

from kiqstart.tasks.colliding_keys import WITHOUT_PARTS, refuse_colliding_arguments
from kiqstart.tasks.exact_json import MOST_DIGITS, refuse_long_numbers
from kiqstart.tasks.sealing.errors import UntrustedMessageError
from kiqstart.tasks.sealing.seal import unsealed
from kiqstart.tasks.sealing.secrets import has_hidden_arguments, without_arguments
from kiqstart.tasks.sizes import DEFAULT_BYTES, MOST_GROWTH, MessageTooLargeError, size_problem
from kiqstart.tasks.task_ids import check_task_id

_WITHOUT_KEYS: Final = "its arguments are encrypted, and this process has no keys (TASKS_ENCRYPTION_KEYS)"
_OTHER: Final = LabelType.ANY.value
# Characters of a label's name in an error.
_LONGEST: Final = 100
_BYTES_OF_OWN_LABELS: Final = 4096
_read: Final = cast("Callable[[bytes], TaskiqMessage]", TaskiqMessage.__pydantic_validator__.validate_json)


class UnsendableLabelError(ValueError):
    """A message has a label that is no JSON; the text names it."""


def to_json(value: object, *, inf_nan_mode: Literal["null", "constants"] = "null") -> bytes:
    """JSON of what pydantic can turn into it; models by the names of their fields, as taskiq writes them.

    Args:
        value: what is written.
        inf_nan_mode: whether NaN and infinite numbers become null, or constants that JSON has not.

    Raises:
        PydanticSerializationError: a value that is no JSON, or text that is no UTF-8.
        ValueError: an integer of more digits than Python reads.
    """
    data = pydantic_core.to_json(value, inf_nan_mode=inf_nan_mode, by_alias=False, fallback=_by_its_own_rules)
    return data if len(data) <= MOST_DIGITS else refuse_long_numbers(data)


def as_json(value: object) -> object:
    """What a value is once it has been sent as JSON and read.

    Raises:
        PydanticSerializationError: a value that is no JSON.
    """
    return pydantic_core.to_jsonable_python(value, inf_nan_mode="constants", by_alias=False, fallback=_by_its_own_rules)


def _by_its_own_rules(value: object) -> object:
    """A value of a type that pydantic writes where it is declared, such as a ZoneInfo."""
    try:
        return _adapter(cast("Hashable", type(value))).dump_python(value, mode="json", by_alias=False)
    except (pydantic.PydanticUserError, TypeError):
        raise pydantic_core.PydanticSerializationError(f"Unable to serialize unknown type: {type(value)}") from None


@lru_cache
def _adapter(cls: Any) -> pydantic.TypeAdapter[Any]:  # noqa: ANN401  # a class
    return pydantic.TypeAdapter(cls)


class Outgoing(Protocol):
    """What a broker needs of a message that it sends; a `BrokerMessage` has it."""

    @property
    def task_id(self) -> str:
        """The task's id."""
        ...

    @property
    def task_name(self) -> str:
        """The task's name."""
        ...

    @property
    def message(self) -> bytes:
        """What the worker gets."""
        ...

    @property
    def labels(self) -> Mapping[str, object]:
        """Its labels, as text."""
        ...


@dataclass(slots=True, eq=False)
class OutgoingJson:
    """A message that is JSON: what a `BrokerMessage` has, made in a third of the time."""

    task_id: str
    task_name: str
    message: bytes
    labels: Mapping[str, object]


class MessageTemplate:
    """Makes the messages of many calls of one task: only their ids and arguments differ.

    Args:
        first: any of them.
        long_way: makes those whose arguments do not go the short way.
    """

    def __init__(self, first: TaskiqMessage, long_way: Callable[[TaskiqMessage], BrokerMessage]) -> None:
        self._first = first
        self._long_way = long_way
        same = {"task_name": first.task_name, "labels": first.labels, "labels_types": first.labels_types}
        self.same = to_json(same)[:-1] + b","
        """What each of them begins with."""

    def message_of_scalars(
        self, task_id: str, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> OutgoingJson | None:
        """The message of a call whose arguments are texts and whole numbers, of which JSON cannot lose a part.

        None for other arguments, and for those that cannot be sent.
        """
        for value in (*args, *kwargs.values()):
            if type(value) not in WITHOUT_PARTS:
                return None
        try:
            data = self.same + to_json({"task_id": task_id, "args": args, "kwargs": kwargs})[1:]
        except ValueError:
            return None
        return OutgoingJson(task_id, self._first.task_name, data, self._first.labels)

    def message(self, task_id: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Outgoing:
        """The message of one call.

        Raises:
            ValueError, TypeError: an argument that is no JSON, or of which JSON would lose a part.
        """
        own = {"task_id": task_id, "args": list(args), "kwargs": kwargs}
        try:
            data = self.same + to_json(own, inf_nan_mode="constants")[1:]
        except ValueError:
            return self._long_way(self._first.model_copy(update=own))
        refuse_colliding_arguments(args, kwargs)
        return OutgoingJson(task_id, self._first.task_name, data, self._first.labels)


class JsonFormatter(ProxyFormatter):
    """taskiq's formatter, with a short way for its JSON serializers; what goes that way is read as the same message.

    taskiq's own makes Python values of a message, then JSON of these, and back in two steps: several times the work.
    What the short way refuses goes taskiq's way, as does everything where a serializer is another one.

    Args:
        broker: whose messages they are.
        limit: bytes of the largest message that is read.
    """

    def __init__(self, broker: AsyncBroker, *, limit: int = DEFAULT_BYTES) -> None:
        super().__init__(broker)
        # What workers lay beside a message that is sent again.
        self._limit = limit + _BYTES_OF_OWN_LABELS
        # Up to here a message is not too large, whatever it holds.
        self._harmless = self._limit // MOST_GROWTH - 1

    def dumps(self, message: TaskiqMessage) -> BrokerMessage:
        """A message as taskiq has its brokers send it.

        Raises:
            UnsendableLabelError, ValueError, TypeError: as `outgoing` does.
        """
        one = self.outgoing(message)
        if isinstance(one, BrokerMessage):
            return one
        return BrokerMessage(task_id=one.task_id, task_name=one.task_name, message=one.message, labels=dict(one.labels))

    def outgoing(self, message: TaskiqMessage) -> BrokerMessage | OutgoingJson:
        """A message as its broker sends it.

        Raises:
            UnsendableLabelError: a label that is no JSON, as a middleware may set one.
            InvalidTaskIdError: its id is no UTF-8.
            ValueError, TypeError: an argument that is no JSON, or of which JSON would lose a part.
        """
        if not _is_plain_json(self.broker.serializer):
            return self._dump_the_long_way(message)
        message = _without_unset_labels(message)
        # Its fields one by one, since middlewares may lay their own things beside them.
        fields = {
            "task_id": message.task_id,
            "task_name": message.task_name,
            "labels": message.labels,
            "labels_types": message.labels_types,
            "args": message.args,
            "kwargs": message.kwargs,
        }
        try:
            # What came with a NaN, from a sender that lets it through, is sent again as it came.
            data = to_json(fields, inf_nan_mode="constants")
        except ValueError:
            return self._dump_the_long_way(message)
        refuse_colliding_arguments(message.args, message.kwargs)
        return OutgoingJson(message.task_id, message.task_name, data, message.labels)

    def template(self, first: TaskiqMessage) -> MessageTemplate | None:
        """What makes messages like this one, or None where they do not go the short way."""
        if not _is_plain_json(self.broker.serializer):
            return None
        try:
            return MessageTemplate(first, self._dump_the_long_way)
        except ValueError:  # a label that is no JSON, which `dumps` names
            return None

    def _dump_the_long_way(self, message: TaskiqMessage) -> BrokerMessage:
        if isinstance(self.broker.serializer, JSONSerializer | ORJSONSerializer):
            _check_encodable(message.task_id)
            refuse_colliding_arguments(message.args, message.kwargs)
            for name, value in message.labels.items():
                _check_label(name, value)
        return super().dumps(message)

    def loads(self, message: bytes) -> TaskiqMessage:
        """A message as its task gets it.

        Raises:
            MessageTooLargeError: it is not read at all.
            UntrustedMessageError: its arguments are encrypted.
        """
        if len(message) > self._harmless:
            self.check_size(message)
        if _is_plain_json(self.broker.serializer):
            try:
                return _read(message)
            except ValueError:
                if has_hidden_arguments(unsealed(message)):
                    raise UntrustedMessageError(_WITHOUT_KEYS) from None
        return super().loads(message)

    def envelope(self, message: bytes) -> TaskiqMessage:
        """A message's id, name and labels, whoever has made it; without arguments that are encrypted.

        Raises:
            MessageTooLargeError: it is not read at all.
        """
        return JsonFormatter.loads(self, without_arguments(unsealed(message)))

    def changed(self, message: bytes, change: Callable[[TaskiqMessage], TaskiqMessage]) -> bytes:
        """A message after a change; as it was if it is sealed, since only who has the keys may change it."""
        if unsealed(message) is not message:
            return message
        return self.dumps(change(self.loads(message))).message

    def check_size(self, message: bytes) -> None:
        """Refuse what is not to be decoded.

        Raises:
            MessageTooLargeError: it is too large.
        """
        problem = size_problem(message, self._limit)
        if problem is not None:
            raise MessageTooLargeError(f"the message has {problem}")


def _check_encodable(task_id: str) -> None:
    try:
        task_id.encode()
    except UnicodeEncodeError:
        check_task_id(task_id)


def _check_label(name: str, value: object) -> None:
    try:
        to_json(value)
    except (ValueError, RecursionError) as error:
        problem = str(error).partition("\n")[0].removeprefix("Error serializing to JSON: ")
        raise UnsendableLabelError(f"the label {ascii(name)[:_LONGEST]} cannot be sent as JSON: {problem}") from None


def _without_unset_labels(message: TaskiqMessage) -> TaskiqMessage:
    """The message without labels of None, which taskiq's own kicker makes text of a type of their own."""
    labels, types = message.labels, message.labels_types or {}
    if not labels:
        return message
    unset = [name for name, text in labels.items() if text is None or (text == "None" and types.get(name) == _OTHER)]
    if not unset:
        return message
    return message.model_copy(
        update={
            "labels": {name: text for name, text in labels.items() if name not in unset},
            "labels_types": {name: kind for name, kind in types.items() if name not in unset},
        }
    )


def _is_plain_json(serializer: TaskiqSerializer) -> bool:
    if type(serializer) is ORJSONSerializer:
        return serializer.default is None and serializer.option is None
    return type(serializer) is JSONSerializer and serializer.default is None and serializer.ensure_ascii
