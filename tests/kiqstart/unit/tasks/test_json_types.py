"""Which types stop the start, and that the others arrive as they were sent."""

import asyncio
import dataclasses
import enum
import ipaddress
import typing
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import IO, Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    Secret,
    SecretBytes,
    SecretStr,
    computed_field,
    field_serializer,
)
from taskiq import AsyncBroker
from tests.deadlines import HANG
from typing_extensions import TypedDict

from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.tasks.arguments import ArgumentsMiddleware
from kiqstart.tasks.bulk import BulkSendFailedError
from kiqstart.tasks.errors import InvalidTaskArgumentsError, WiringError
from kiqstart.tasks.formatting import JsonFormatter
from kiqstart.tasks.registration import register_task

T = TypeVar("T")


class Login(BaseModel):
    user: str
    token: SecretStr


class Box(BaseModel, Generic[T]):
    content: T


class Deep(BaseModel):
    logins: dict[str, list[Login]] | None = None


@dataclasses.dataclass
class Credentials:
    password: SecretStr


class Options(TypedDict, total=False):
    key: SecretBytes


class Pair(enum.Enum):
    ONE = (1, 2)


class Size(enum.Enum):
    LARGE = 3


class Excluded(BaseModel):
    hidden: int = Field(exclude=True)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    width: int

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own order
    @property
    def area(self) -> int:
        return self.width**2


class Encoded(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    data: bytes


class Arbitrary(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    event: asyncio.Event


class Parsed(BaseModel):
    numbers: Json[list[int]]


class Undefined(BaseModel):
    other: "Nowhere"  # type: ignore[name-defined]  # noqa: F821  # the point


class Untyped(typing.TypedDict):  # pydantic needs that of typing_extensions here
    x: int


SECRETS = [
    SecretStr,
    SecretBytes,
    Secret[int],
    SecretStr | None,
    list[SecretStr],
    dict[str, tuple[int, SecretBytes]],
    Annotated[SecretStr, Field(min_length=1)],
    # It is written by its Python type: an annotation's serializer is not asked.
    Annotated[SecretStr, PlainSerializer(lambda secret: secret.get_secret_value())],
    Login,
    Deep,
    Box[SecretStr],
    Credentials,
    list[Credentials],
    Options,
]
OTHERS = [
    Callable[[int], int],
    type[int],
    type,
    IO[str],
    Iterator[int],
    Awaitable[int],
    asyncio.Event,
    Arbitrary,
    Pair,
    Literal[Size.LARGE],
    dict[Size, int],
    dict[tuple[int, int], int],
    Excluded,
    Strict,
    Encoded,
    Parsed,
    Undefined,
    Untyped,
]


def task_of(hint: object, *, is_result: bool) -> Callable[..., Any]:
    async def work(value: object = None) -> object:
        return value

    work.__annotations__ = {"return": hint} if is_result else {"value": hint}
    return work


@pytest.fixture
def broker() -> AsyncBroker:
    made = DelayingInMemoryBroker(await_inplace=True)
    made.formatter = JsonFormatter(made)
    return made.with_middlewares(ArgumentsMiddleware())


@pytest.mark.parametrize("is_result", [False, True])
@pytest.mark.parametrize("hint", [*SECRETS, *OTHERS])
def test_what_does_not_arrive_as_it_was_sent_stops_the_start(
    broker: AsyncBroker, hint: object, is_result: bool
) -> None:
    with pytest.raises(WiringError) as caught:
        register_task(broker, task_of(hint, is_result=is_result), name="work")
    text, what = str(caught.value), "its return type" if is_result else "parameter value: its type"
    assert text.startswith(f"tests/kiqstart/unit/tasks/test_json_types.py: task 'work': {what} ")
    assert "\n" not in text
    if hint in SECRETS:
        assert "a secret is written as asterisks; pass an id" in text


class Revealed(BaseModel):
    """A secret that its model writes out."""

    token: SecretStr

    @field_serializer("token", when_used="json")
    def reveal(self, token: SecretStr) -> str:
        return token.get_secret_value()


class Documented(BaseModel):
    password: str = Field(json_schema_extra={"format": "password", "writeOnly": True})


class Aliased(BaseModel):
    size: int = Field(alias="Size")
    inner: "list[Aliased]" = Field(default=[], validation_alias="Inner")


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Span:
    of: UUID
    until: datetime | None = None


ARRIVING = [
    (UUID, UUID("6A1C1F1E-5D0B-4B0E-9F53-0D6AC1D0A001")),
    (datetime, datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
    (date, date(2026, 10, 25)),
    (time, time(1, 30)),
    (timedelta, timedelta(seconds=90)),
    (Decimal, Decimal("1.10")),
    (Fraction, Fraction(1, 3)),
    (Path, Path("/tmp")),  # noqa: S108  # a path, not a file
    (Size, Size.LARGE),
    (ZoneInfo, ZoneInfo("Europe/Berlin")),
    (list[ZoneInfo], [ZoneInfo("Europe/Berlin")]),
    (ipaddress.IPv4Address, ipaddress.ip_address("10.0.0.1")),
    (set[int], {1, 2}),
    (frozenset[UUID], frozenset({UUID(int=1)})),
    (dict[date, int], {date(2026, 1, 1): 1}),
    (deque[int], deque([1, 2])),
    (Counter[str], Counter("aab")),
    (bytes, b"text"),
    (Point, Point(1, 2)),
    (Span, Span(UUID(int=1))),
    (list[Span], [Span(UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC))]),
    (Box[Span], Box(content=Span(UUID(int=1)))),
    (Revealed, Revealed(token=SecretStr("t0ken"))),
    (list[Revealed], [Revealed(token=SecretStr("t0ken"))]),
    (Documented, Documented(password="hunter2")),
    (Aliased, Aliased.model_validate({"Size": 1, "Inner": [{"Size": 2}]})),
    (Any, "**********"),
    (Any, {"NaN": None, "Infinity": [1]}),
]


@pytest.mark.parametrize(("hint", "value"), ARRIVING)
async def test_what_is_accepted_arrives(broker: AsyncBroker, hint: object, value: object) -> None:
    seen: list[object] = []

    async def work(value: object) -> None:
        seen.append(value)

    work.__annotations__ = {"value": hint}
    task = register_task(broker, work, name="work")
    result = await (await task.kiq(value)).wait_result(timeout=HANG)
    await task.kiq_many([task.call(value=value)])
    assert (result.error, seen) == (None, [value, value])
    assert isinstance(seen[0], type(value))


class Number(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")

    value: float | None


REFUSED = [
    (float("nan"), "nan cannot be sent as JSON"),
    ([1.0, {"a": (float("inf"),)}], "inf cannot be sent as JSON"),
    (Number(value=float("-inf")), "-inf cannot be sent as JSON"),
    ([Number(value=float("-inf"))], "-inf cannot be sent as JSON"),
    (SecretStr("x"), "SecretStr, which is written as asterisks, cannot be sent as JSON"),
    ({"a": [SecretBytes(b"x")]}, "SecretBytes, which"),
    (Login(user="ada", token=SecretStr("x")), "SecretStr, which"),
    ([Deep(logins={"a": [Login(user="ada", token=SecretStr("x"))]})], "SecretStr, which"),
    (Credentials(SecretStr("x")), "SecretStr, which"),
    (object(), "cannot be sent as JSON: Unable to serialize unknown type: <class 'object'>"),
    (b"\xff", "cannot be sent as JSON: invalid utf-8 sequence"),
    (len, "cannot be sent as JSON: Unable to serialize"),
    ([1, {"a": iter([2])}], "cannot be sent as JSON: list_iterator can be read only once"),
    (StringIO("a\nb"), "cannot be sent as JSON: StringIO can be read only once"),
]


@pytest.mark.parametrize("own_formatter", [True, False])
@pytest.mark.parametrize(("value", "problem"), REFUSED)
async def test_an_untyped_argument_that_json_would_change_is_refused_by_its_name(
    value: object, problem: str, own_formatter: bool
) -> None:
    broker = DelayingInMemoryBroker(await_inplace=True)
    if own_formatter:
        broker.formatter = JsonFormatter(broker)

    async def work(*values: Any, last: Any = None) -> None:  # noqa: ANN401  # the point
        raise AssertionError(values, last)

    task = register_task(broker, work, name="work")
    for sending, name in (
        (task.kiq(0, value), "number 2"),
        (task.kiq(last=value), "last"),
    ):
        with pytest.raises(InvalidTaskArgumentsError) as caught:
            await sending
        assert str(caught.value).startswith(f"work: argument {name}")
        assert problem in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(Exception, match=r"call 2: work: argument last:? "):
        await task.kiq_many([task.call(), task.call(last=value)])


@pytest.mark.parametrize(("value", "problem"), REFUSED)
async def test_a_schedule_refuses_the_same_arguments(value: object, problem: str) -> None:
    broker = DelayingInMemoryBroker(await_inplace=True)
    source = DurableScheduleSource(broker)

    async def work(value: Any) -> None:  # noqa: ANN401  # the point
        raise AssertionError(value)

    task = register_task(broker, work, name="work")
    for adding in (
        task.schedule_by_time(source, datetime(2127, 1, 1, tzinfo=UTC), value),
        task.schedule_by_cron(source, "@daily", value),
        task.schedule_by_interval(source, 60, value),
    ):
        with pytest.raises(InvalidTaskArgumentsError) as caught:
            await adding
        assert str(caught.value).startswith("work: argument number 1")
        assert problem in str(caught.value)
    assert await source.get_schedules() == []


@pytest.mark.parametrize("hint", [list[int], set[int], Iterable[int], list[int] | None])
async def test_a_generator_is_not_sent_as_the_empty_list_that_a_check_leaves_of_it(
    broker: AsyncBroker, hint: object
) -> None:
    seen: list[object] = []

    async def work(numbers: object) -> None:
        seen.append(numbers)

    work.__annotations__ = {"numbers": hint}
    task = register_task(broker, work, name="work")
    for sending in (task.kiq(number for number in range(3)), task.kiq(numbers=map(abs, [1]))):
        with pytest.raises(InvalidTaskArgumentsError, match="can be read only once: pass a list"):
            await sending
    with pytest.raises(BulkSendFailedError, match="can be read only once: pass a list"):
        await task.kiq_many([task.call(iter([1]))])
    assert seen == []
