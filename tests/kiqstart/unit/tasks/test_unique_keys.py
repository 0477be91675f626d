"""Unique keys: one for all forms in which the same arguments come."""

import dataclasses
import enum
import json
from collections import Counter, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from taskiq import InMemoryBroker, TaskiqMessage
from typing_extensions import TypedDict

from kiqstart.tasks.arguments import TaskArguments, task_arguments
from kiqstart.tasks.errors import InvalidTaskArgumentsError, WiringError
from kiqstart.tasks.formatting import JsonFormatter
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.unique_keys import MAX_KEY_BYTES, KeyTemplate
from kiqstart.tasks.uniqueness import UniquenessMiddleware


class Kind(enum.Enum):
    FULL = "full"
    PART = "part"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(str, enum.Enum):  # noqa: UP042  # as older code has it
    YES = "yes"
    NO = "no"


class Account(BaseModel):
    id: UUID
    limit: Decimal = Field(default=Decimal(0), alias="Limit")
    kinds: set[Kind] = set()
    since: datetime | None = None


@dataclasses.dataclass
class Span:
    start: date
    length: timedelta = timedelta(days=1)
    tags: frozenset[str] = frozenset()


class Point(NamedTuple):
    x: float
    y: int


class Choice(TypedDict, total=False):
    kind: Kind
    at: time


TIMES = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001  # hypothesis adds the time zone
    max_value=datetime(9999, 12, 28),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5.5))]),
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ACCOUNTS = st.builds(
    Account,
    id=st.uuids(),
    Limit=st.decimals(allow_nan=False, allow_infinity=False, places=3),
    kinds=st.sets(st.sampled_from(Kind)),
    since=st.none() | TIMES,
)
SPANS = st.builds(Span, start=st.dates(), length=st.timedeltas(), tags=st.frozensets(st.text()))
TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, st.text()),
    (int, st.integers()),
    (bool, st.booleans()),
    (float, NUMBERS | st.integers(-(2**53), 2**53)),
    (int | None, st.none() | st.integers()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (UUID, st.uuids()),
    (datetime, TIMES | st.datetimes()),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (bytes, st.text().map(str.encode)),
    (Path, st.just(Path("/a/b"))),
    (IPv4Address, st.ip_addresses(v=4)),
    (Kind, st.sampled_from(Kind)),
    (Level, st.sampled_from(Level)),
    (Word, st.sampled_from(Word)),
    (set[int], st.sets(st.integers())),
    (set[str], st.sets(st.text())),
    (frozenset[datetime], st.frozensets(TIMES)),
    (list[Kind], st.lists(st.sampled_from(Kind))),
    (deque[int], st.lists(st.integers()).map(deque)),
    (Counter[str], st.lists(st.text()).map(Counter)),
    (dict[str, float], st.dictionaries(st.text(), NUMBERS)),
    (dict[UUID, set[Kind]], st.dictionaries(st.uuids(), st.sets(st.sampled_from(Kind)), max_size=3)),
    (dict[int, bool], st.dictionaries(st.integers(), st.booleans())),
    (tuple[int, str, datetime], st.tuples(st.integers(), st.text(), TIMES)),
    (Point, st.builds(Point, NUMBERS, st.integers())),
    (Account, ACCOUNTS),
    (list[Account], st.lists(ACCOUNTS, max_size=3)),
    (Span, SPANS),
    (dict[str, Span], st.dictionaries(st.text(), SPANS, max_size=3)),
    (Choice, st.fixed_dictionaries({}, optional={"kind": st.sampled_from(Kind), "at": st.times()})),
    (Any, JSON),
    (Any, st.sampled_from(Kind) | TIMES | st.uuids() | st.tuples(st.dates(), st.decimals(allow_nan=False))),
]


def template(hint: object, text: str = "key:{value}") -> KeyTemplate:
    async def work(value: object) -> None: ...

    work.__annotations__ = {"value": hint}
    return KeyTemplate(text, TaskArguments(work))


def over_the_wire(value: object) -> object:
    """A value as the worker gets it, through each step of a send."""
    formatter = JsonFormatter(InMemoryBroker())
    message = TaskiqMessage(task_id="1", task_name="work", labels={}, args=[value], kwargs={})
    return json.loads(formatter.dumps(message).message)["args"][0]


@pytest.mark.parametrize(("hint", "values"), TYPES, ids=[str(hint) for hint, _ in TYPES])
def test_a_program_and_a_schedule_make_the_same_key(hint: object, values: st.SearchStrategy[Any]) -> None:
    made = template(hint)

    @settings(max_examples=25, deadline=None)
    @given(values, values)
    def check(value: object, other: object) -> None:
        travelled, key = over_the_wire(value), made.key("work", [value], {})
        assert made.key("work", [], {"value": travelled}) == key
        assert len(key.encode()) <= MAX_KEY_BYTES
        # And others have another one.
        if over_the_wire(other) != travelled and hint is not Any and value != other:
            assert made.key("work", [other], {}) != key

    check()


BERLIN = timezone(timedelta(hours=2))
EQUAL: list[tuple[Any, str, list[Any]]] = [
    (str, "key:a {b} 1", ["a {b} 1"]),
    (int, "key:7", [7, "7", 7.0]),
    (Any, "key:7", [7, "7", 7.0]),
    (bool, "key:True", [True, 1, "true", "yes"]),
    (float, "key:1", [1, 1.0, "1.0", "1e0"]),
    (float, "key:1.5", [1.5, "1.5"]),
    (float, "key:0", [0, 0.0, -0.0]),
    (int | None, "key:None", [None]),
    (Kind, "key:full", [Kind.FULL, "full"]),
    (Level, "key:2", [Level.HIGH, 2, "2"]),
    (Word, "key:yes", [Word.YES, "yes"]),
    (
        UUID,
        "key:6a1c1f1e-5d0b-4b0e-9f53-0d6ac1d0a001",
        [
            "6A1C1F1E-5D0B-4B0E-9F53-0D6AC1D0A001",
            "6a1c1f1e5d0b4b0e9f530d6ac1d0a001",
            UUID("6a1c1f1e-5d0b-4b0e-9f53-0d6ac1d0a001"),
        ],
    ),
    (
        datetime,
        "key:2026-01-01T00:00:00Z",
        [
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 1, 2, tzinfo=BERLIN),
            "2026-01-01T00:00:00Z",
            "2026-01-01T02:00:00+02:00",
            1767225600,
        ],
    ),
    (Decimal, "key:100", [Decimal(100), "1E2", "100.00", 100, 100.0]),
    (timedelta, "key:PT1H30M", [timedelta(minutes=90), "PT90M", 5400, "01:30:00"]),
    (set[str], 'key:["a","b"]', [{"b", "a"}, ["b", "a"], ("a", "b", "a")]),
    (dict[str, int], 'key:{"a":1,"b":2}', [{"b": 2, "a": 1}, {"a": "1", "b": 2.0}]),
    (Span, 'key:{"length":"P1D","start":"2026-01-01","tags":[]}', [Span(date(2026, 1, 1)), {"start": "2026-01-01"}]),
    (
        Account,
        'key:{"id":"00000000-0000-0000-0000-000000000001","kinds":["full","part"],"limit":"0","since":null}',
        [
            Account(id=UUID(int=1), kinds={Kind.PART, Kind.FULL}),
            {"id": str(UUID(int=1)), "kinds": ["part", "full"]},
            {"id": UUID(int=1), "kinds": ["full", "part"], "Limit": "0.0", "since": None},
        ],
    ),
]


@pytest.mark.parametrize(("hint", "key", "values"), EQUAL, ids=[str(hint) for hint, _, _ in EQUAL])
def test_equal_values_have_one_key(hint: object, key: str, values: list[object]) -> None:
    made = template(hint)
    assert {made.key("work", [value], {}) for value in values} == {key}


def test_text_and_whole_numbers_are_as_they_were_before() -> None:
    async def work(user: int, day: str = "today", *rest: int, last: bool = False) -> None: ...

    made = KeyTemplate("a:{user}:{day}:{last}", TaskArguments(work))
    assert made.key("work", [1], {}) == "a:1:today:False"
    assert made.key("work", ["1"], {"day": "Ü:{x}\n", "last": True}) == "a:1:Ü:{x}\n:True"


@pytest.mark.parametrize(
    ("hint", "text", "value", "key"),
    [
        (int, "{value:04}", "7", "0007"),
        (float, "{value:.2f}", 1, "1.00"),
        (datetime, "{value:%Y-%m}", "2026-02-01T01:00:00+02:00", "2026-01"),
        (date, "{value:%G-W%V}", "2026-01-01", "2026-W01"),
        (str, "{{{value:>3}}}", "x", "{  x}"),
    ],
)
def test_formats_of_text_numbers_and_times(hint: object, text: str, value: object, key: str) -> None:
    assert template(hint, text).key("work", [value], {}) == key


@pytest.mark.parametrize(
    ("hint", "text", "problem"),
    [
        (Account, "{value.id}", "{value.id}: only whole arguments can be named, such as {value}"),
        (list[int], "{value[0]}", "{value[0]}: only whole arguments can be named, such as {value}"),
        (Any, "{value.__class__.__init__.__globals__}", "only whole arguments can be named"),
        (str, "{value!r}", "{value!r}: write {value}"),
        (int, "{value:%Y}", "{value:%Y}: Invalid format specifier"),
        (int, "{value:c}", "{value:c}: %c arg not in range"),
        (str, "{value:>300000000}", "up to a width of 999"),
        (str, "{value:{value}}", "formats are for str, int"),
        (datetime | None, "{value:%Y}", "formats are for str, int"),
        (Kind, "{value:>4}", "formats are for str, int"),
        (int, "{other}", "the task takes no argument 'other'"),
        (int, "{}", "the task takes no argument ''"),
        (int, "{0}", "the task takes no argument '0'"),
        (int, "{value", "expected '}' before end of string"),
    ],
)
def test_a_template_that_cannot_make_keys_stops_the_start(hint: object, text: str, problem: str) -> None:
    async def work(value: object) -> None: ...

    work.__annotations__ = {"value": hint}
    with pytest.raises(WiringError) as caught:
        register_task(InMemoryBroker(), work, name="work", unique=text)
    assert f"task 'work': unique={text!r}: " in str(caught.value)
    assert problem in str(caught.value)


def test_a_default_counts_as_the_value_that_it_is() -> None:
    async def work(
        kind: Kind = Kind.FULL, at: datetime = datetime(2026, 1, 1, 2, tzinfo=BERLIN), *rest: int
    ) -> None: ...

    made = KeyTemplate("{kind}:{at}:{rest}", TaskArguments(work))
    assert made.key("work", [], {}) == made.key("work", ["full", "2026-01-01T00:00:00Z"], {})


def test_a_long_key_is_its_beginning_and_a_hash() -> None:
    made = template(str)
    key = made.key("work", ["x" * 100_000], {})
    assert key.startswith("key:xxxx")
    assert len(key) < MAX_KEY_BYTES
    assert made.key("work", ["x" * 100_001], {}) != key
    at_most = "x" * (MAX_KEY_BYTES - 4)
    assert made.key("work", [at_most], {}) == f"key:{at_most}"


def test_wrong_arguments_have_no_key() -> None:
    for args, problem in (
        (["x"], "argument value: Input should be a valid integer"),
        ([], "missing a required argument"),
    ):
        with pytest.raises(InvalidTaskArgumentsError, match=f"work: {problem}"):
            template(int).key("work", args, {})


def test_the_template_is_that_of_the_task_whatever_a_message_says() -> None:
    class Thing:
        secret = "s3cret"

    async def work(name: str, thing: Any = Thing) -> None: ...  # noqa: ANN401  # the point

    async def other(name: str) -> None: ...

    broker = InMemoryBroker().with_middlewares(middleware := UniquenessMiddleware())
    register_task(broker, work, name="work", unique="work:{name}")
    register_task(broker, other, name="other")
    labels = {"unique_template": "{thing.secret}"}
    sent = TaskiqMessage(task_id="1", task_name="work", labels=dict(labels), args=["a"], kwargs={})
    assert middleware.pre_send(sent).labels["unique"] == "work:a"
    sent = TaskiqMessage(task_id="1", task_name="other", labels=dict(labels), args=["a"], kwargs={})
    assert "unique" not in middleware.pre_send(sent).labels
    task = broker.find_task("work")
    assert task is not None
    assert "name" in task_arguments(task.original_func).signature.parameters
