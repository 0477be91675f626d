"""The short way of writing and reading messages beside taskiq's own."""

import dataclasses
import enum
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field
from taskiq import BrokerMessage, InMemoryBroker, TaskiqMessage
from taskiq.abc.serializer import TaskiqSerializer
from taskiq.formatters.proxy_formatter import ProxyFormatter
from taskiq.serializers import JSONSerializer, ORJSONSerializer

from kiqstart.tasks.formatting import JsonFormatter
from kiqstart.tasks.task import Task

SERIALIZERS = [JSONSerializer(), ORJSONSerializer()]


class Color(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


# orjson writes none beyond, and reads those as floats.
INTEGERS = st.integers(-(2**63), 2**64 - 1)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    INTEGERS,
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.text().map(str.encode),
    st.datetimes(timezones=st.none() | st.just(UTC)),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.decimals(),
    st.sampled_from([Color.RED, Size.LARGE]),
)
KEYS = st.one_of(st.text(), INTEGERS, st.uuids(), st.dates(), st.sampled_from([Color.RED, Size.LARGE]))


def as_dict(pairs: Iterable[tuple[object, object]]) -> dict[object, object]:
    """The last pair of each key as JSON has it: two that are one there are refused."""
    last = {str(pair[0].value if isinstance(pair[0], enum.Enum) else pair[0]): pair for pair in pairs}
    return dict(last.values())


VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=6).map(tuple),
        # Not by `unique_by`, which writes a strategy out that has thousands of others, as often as it draws again.
        st.lists(st.tuples(KEYS, inner), max_size=6).map(as_dict),
        st.frozensets(st.integers(0, 9)),
    ),
    max_leaves=20,
)
MESSAGES = st.builds(
    TaskiqMessage,
    task_id=st.text(),
    task_name=st.text(),
    labels=st.dictionaries(st.text(), st.text()),
    labels_types=st.none() | st.dictionaries(st.text(), st.integers(1, 6)),
    args=st.lists(VALUES, max_size=4),
    kwargs=st.dictionaries(st.text(), VALUES, max_size=4),
)


def formatters(serializer: TaskiqSerializer) -> tuple[ProxyFormatter, JsonFormatter]:
    """taskiq's own, and ours."""
    broker = InMemoryBroker().with_serializer(serializer)
    return ProxyFormatter(broker), JsonFormatter(broker)


def message(*args: object) -> TaskiqMessage:
    return TaskiqMessage(task_id="id", task_name="name", labels={"a": "1"}, labels_types={}, args=list(args), kwargs={})


def check(theirs: ProxyFormatter, ours: JsonFormatter, written: TaskiqMessage) -> None:
    """Both write the same message, and read each other's."""
    long, short = theirs.dumps(written), ours.dumps(written)
    expected = repr(theirs.loads(long.message))
    assert {repr(one.loads(data.message)) for one in (theirs, ours) for data in (long, short)} == {expected}
    assert (short.task_id, short.task_name, short.labels) == (long.task_id, long.task_name, long.labels)


@pytest.mark.parametrize("serializer", SERIALIZERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MESSAGES)
def test_the_short_way_writes_what_taskiq_writes_and_each_reads_the_other(
    serializer: TaskiqSerializer, written: TaskiqMessage
) -> None:
    check(*formatters(serializer), written)


@given(st.integers())
def test_integers_of_any_size_are_as_taskiqs_json_has_them(number: int) -> None:
    check(*formatters(JSONSerializer()), message(number, [number]))
    _, ours = formatters(ORJSONSerializer())
    assert ours.loads(ours.dumps(message(number)).message).args == [number]


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_what_came_with_a_nan_is_sent_again_as_it_came(serializer: TaskiqSerializer) -> None:
    _, ours = formatters(serializer)
    came = ours.loads(
        b'{"task_id": "1", "task_name": "x", "labels": {}, "args": [NaN, -Infinity, {"a": Infinity}], "kwargs": {}}'
    )
    assert repr(ours.loads(ours.dumps(came).message)) == repr(came)


def test_lone_surrogates_are_written_where_taskiq_can() -> None:
    check(*formatters(JSONSerializer()), message("\ud800", ["x\udfff"]))
    theirs, ours = formatters(ORJSONSerializer())
    assert refusal(theirs.dumps, message("\ud800")) == refusal(ours.dumps, message("\ud800"))


class Aliased(BaseModel):
    x: float = Field(default=1.5, alias="X", serialization_alias="theX")


class Particular(BaseModel):
    model_config = ConfigDict(ser_json_timedelta="float", ser_json_bytes="base64")

    span: timedelta = timedelta(minutes=1)
    data: bytes = b"\xff"
    most: float = 1.5
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    hidden: int = Field(default=1, exclude=True)

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own order
    @property
    def doubled(self) -> float:
        return self.most * 2


@dataclasses.dataclass
class Pair:
    left: Any = None
    _right: int = 2
    late: int = dataclasses.field(default=3, init=False)


@pydantic.dataclasses.dataclass
class Checked:
    x: int = Field(default=1, serialization_alias="theX")


OBJECTS = [Aliased(), Particular(), Pair(), Pair(Aliased()), Checked(), RootModel[list[int]]([1, 2])]
VALUES_OF_OBJECTS = [*OBJECTS, *([one] for one in OBJECTS), *({"key": (one, 1)} for one in OBJECTS)]


async def look(value: object) -> None: ...


async def sent(broker: InMemoryBroker, value: object) -> list[BrokerMessage]:
    """What single and many calls with a value send."""
    kicked: list[BrokerMessage] = []

    async def kick(message: BrokerMessage) -> None:
        kicked.append(message)

    broker.kick = kick  # type: ignore[method-assign]  # what is sent is all that counts here
    task: Task[[object], Any] = Task(broker, "look", look, {})
    await task.kiq(value)
    await task.kiq_many([task.call(value)] * 2)
    return kicked


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("value", VALUES_OF_OBJECTS)
async def test_models_and_dataclasses_arrive_alike_whichever_way_they_are_sent(
    serializer: TaskiqSerializer, value: object
) -> None:
    broker = InMemoryBroker().with_serializer(serializer)
    [theirs, *_] = await sent(broker, value)
    broker.formatter = JsonFormatter(broker)
    expected = ProxyFormatter(broker).loads(theirs.message).args
    assert [broker.formatter.loads(one.message).args for one in await sent(broker, value)] == [expected] * 3


def refusal(write_or_read: Callable[[Any], object], value: object) -> tuple[type[Exception], str]:
    try:
        write_or_read(value)
    except Exception as error:  # noqa: BLE001  # to be compared
        return type(error), str(error)
    raise AssertionError("it is not refused")


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("value", [object(), b"\xff", {"x": [object()]}, int, iter])
def test_what_is_no_json_is_refused_as_by_taskiq(serializer: TaskiqSerializer, value: object) -> None:
    theirs, ours = formatters(serializer)
    assert refusal(ours.dumps, message(value)) == refusal(theirs.dumps, message(value))


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b"\xff",
        b'{"task_id": "1"',
        b'{"task_id": "1", "task_name": "x", "labels": {}, "args": []}',
        b'{"task_id": 1, "task_name": "x", "labels": {}, "args": [], "kwargs": {}}',
        b'{"task_id": "1", "task_name": "x", "labels": {}, "args": {}, "kwargs": {}}',
        b'{"task_id": "1", "task_name": "x", "labels": {}, "args": [], "kwargs": []}',
        b'{"task_id": "1", "task_name": "x", "labels": {}, "labels_types": {"a": "b"}, "args": [], "kwargs": {}}',
    ],
)
def test_what_is_no_message_is_refused_as_by_taskiq(serializer: TaskiqSerializer, data: bytes) -> None:
    theirs, ours = formatters(serializer)
    assert refusal(ours.loads, data) == refusal(theirs.loads, data)


def nothing(_: object) -> None: ...


class Upper(ORJSONSerializer):
    """Writes capital letters."""

    def dumpb(self, value: Any) -> bytes:  # noqa: ANN401  # taskiq's
        return super().dumpb(value).upper()


@pytest.mark.parametrize(
    ("serializer", "value"),
    [
        (JSONSerializer(ensure_ascii=False), "ü"),
        (JSONSerializer(default=nothing), "ü"),
        (ORJSONSerializer(option=orjson.OPT_INDENT_2), [1]),
        (ORJSONSerializer(default=str), [1]),
        (Upper(), "x"),
    ],
)
def test_a_serializer_of_ones_own_has_the_say(serializer: TaskiqSerializer, value: object) -> None:
    theirs, ours = formatters(serializer)
    assert ours.dumps(message(value)).message == theirs.dumps(message(value)).message
    assert ours.template(message(value)) is None


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_what_a_middleware_lays_beside_a_message_is_not_sent(serializer: TaskiqSerializer) -> None:
    theirs, ours = formatters(serializer)
    written = message(1)
    alone = ours.dumps(written).message
    object.__setattr__(written, "beside", {("id", True): "span"})
    assert ours.dumps(written).message == alone
    check(theirs, ours, written)
