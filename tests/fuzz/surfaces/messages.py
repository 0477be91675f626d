"""Messages: what lies in a queue, among the delayed messages, and under the queue's other keys."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final, cast

from hypothesis import strategies as st
from redis.asyncio import Redis
from tests.deadlines import HANG
from tests.fuzz.judge import PlannedError, check_printed, judged_log
from tests.fuzz.odd import BAIT, BYTES, DEEP, JSON, LEAVES, NUMBERS, TEXTS, as_json, changed, damaged, seldom
from tests.fuzz.surface import Ground, Surface
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.broker.test_every_delivery_ends import LABELS, VALUES

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.runs import read_runs
from kiqstart.cli.dead.looking import letters_table, shown_letter
from kiqstart.cli.runs.wording import run_lines, run_page
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.task import Task
from kiqstart.testing import eventually

_TASKS: Final = ("echo", "fails", "modal", "thread", "nobody's", "kiqstart.ping", f"{BAIT}:spring")
_LABELS: Final = st.dictionaries(
    st.sampled_from([*LABELS, "unique_template", "due", "is_anew"]) | TEXTS, VALUES | JSON, max_size=5
)
_MESSAGES: Final = changed(
    {"task_id": "odd", "task_name": "echo", "labels": {}, "labels_types": None, "args": [], "kwargs": {}},
    {
        "task_id": LEAVES,
        "task_name": st.sampled_from(_TASKS) | LEAVES,
        "labels": _LABELS | JSON,
        "labels_types": st.dictionaries(st.sampled_from(LABELS), st.integers(-1, 7) | LEAVES, max_size=2) | JSON,
        "args": st.lists(JSON, max_size=2) | JSON,
        "kwargs": st.dictionaries(st.sampled_from(["x", "name", "self", "broker"]) | TEXTS, JSON, max_size=2) | JSON,
    },
).map(as_json)
_DATA: Final = _MESSAGES | _MESSAGES | damaged(_MESSAGES) | BYTES | st.just(DEEP)
# What we know ourselves of an entry that has been somewhere.
_KNOWN: Final = ("deliveries", "worker", "first", "unique", "task", "left", "tried")


def _fields(data: bytes | None, known: dict[bytes, bytes], others: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {**({} if data is None else {b"data": data}), **known, **others}


_FIELDS: Final[st.SearchStrategy[dict[bytes, bytes]]] = st.builds(
    _fields,
    _DATA | _DATA | st.none(),
    st.dictionaries(st.sampled_from([name.encode() for name in _KNOWN]), BYTES | NUMBERS.map(as_json), max_size=2),
    seldom(st.dictionaries(BYTES, BYTES, max_size=2)),
)
_OTHERS: Final = (
    *("uniques", "places", "delayed", "delayed_messages", "cancelled", "dead", "dropped", "queues", "untaken"),
    *("misfit_index", "misfits_known", "worker_info", "layout", "draining", "quarantine_claim", "epoch", "janitor"),
    *("runs", "failed_runs", "run_counts"),
)
_BELONGS: Final = {
    **dict.fromkeys(("uniques", "places", "worker_info", "misfits_known", "run_counts"), "hash"),
    **dict.fromkeys(("workers", "cancelled"), "sorted set"),
    **dict.fromkeys(("queues", "untaken", "draining"), "set"),
    **dict.fromkeys(("misfit_index", "dead", "runs", "failed_runs"), "stream"),
}
_WORDS: Final = st.sampled_from(
    [b"default", b"echo", b"odd", b"queue", b"name", b"tried", b"since", b"modal:x", b"runs"]
)
_SCORES: Final = st.sampled_from([0.0, -1e300, 1e300, float("inf"), float("-inf"), 1e12, 1e14]) | st.floats(0, 1e13)
_TYPES: Final = ("text", "list", "hash", "set", "sorted set", "stream")


@dataclass(frozen=True)
class Odd:
    """What a stranger has put into Redis.

    Args:
        foreign: keys that hold something else, each with its type and what it holds.
        strewn: what lies where it belongs: the key, a name, a value and a score.
        delayed: names of delayed messages, each with the message and when it is due.
        entries: of the queue's streams, each with which one it is.
    """

    foreign: dict[str, tuple[str, bytes]]
    strewn: list[tuple[str, bytes, bytes, float]]
    delayed: dict[bytes, tuple[bytes, float]]
    entries: list[tuple[str, dict[bytes, bytes]]]

    def __len__(self) -> int:
        return len(self.entries) + len(self.delayed) + len(self.strewn) + len(self.foreign)


_INPUTS: Final = st.builds(
    Odd,
    foreign=seldom(st.dictionaries(st.sampled_from(_OTHERS), st.tuples(st.sampled_from(_TYPES), BYTES), max_size=2)),
    strewn=st.lists(st.tuples(st.sampled_from(sorted(_BELONGS)), BYTES | _WORDS, BYTES | _WORDS, _SCORES), max_size=4),
    delayed=st.dictionaries(
        BYTES,
        st.tuples(_DATA, _SCORES),
        max_size=3,
    ),
    entries=st.lists(st.tuples(st.sampled_from(["new", "new", "new", "returned"]), _FIELDS), max_size=30),
)


async def put_foreign(redis: Redis, key: str, kind: str, value: bytes) -> None:
    """Put something of a type under a key, in the place of what is there."""
    async with redis.pipeline(transaction=True) as commands:
        commands.delete(key)
        match kind:
            case "text":
                commands.set(key, value)
            case "list":
                commands.rpush(key, value)
            case "hash":
                commands.hset(key, value, value)
            case "set":
                commands.sadd(key, value)
            case "sorted set":
                commands.zadd(key, {value: 1.0})
            case _:
                commands.xadd(key, {value: value})
        await commands.execute()


async def _strew(redis: Redis, key: str, kind: str, name: bytes, value: bytes, score: float) -> None:
    match kind:
        case "hash":
            await redis.hset(key, name, value)
        case "set":
            await redis.sadd(key, name)
        case "sorted set":
            await redis.zadd(key, {name: score})
        case _:
            await redis.xadd(key, {name: value, b"queue": b"default", b"name": b"echo"})


async def _put(redis: Redis, keys: QueueKeys, odd: Odd) -> None:
    for key, name, value, score in odd.strewn:
        await _strew(redis, cast("str", getattr(keys, key)), _BELONGS[key], name, value, score)
    for place, fields in odd.entries:
        stream = keys.name if place == "new" else keys.returned("default")
        await redis.xadd(stream, cast("dict[Any, Any]", fields or {b"": b""}))
    for name, (message, due) in odd.delayed.items():
        await redis.hset(keys.delayed_messages, name, message)
        await redis.zadd(keys.delayed, {name: due})


def _register(broker: StreamBroker) -> Task[[object], Any]:
    failures = iter(range(50))

    async def echo(x: object = None) -> object:
        return x

    async def fails() -> None:
        # Whoever says how often it is tried again cannot let it go on for ever.
        for number in failures:
            raise PlannedError(number)

    async def modal(name: str = "x") -> str:
        return name

    def thread(x: int = 0) -> int:
        return x

    register_task(broker, fails, name="fails", max_retries=1, retry_delay=0)
    register_task(broker, modal, name="modal", unique="modal:{name}")
    register_task(broker, thread, name="thread")
    return register_task(broker, echo, name="echo")


async def _deliver(ground: Ground, odd: Odd) -> None:
    brokers = Brokers(ground.redis_url, f"{{{ground.new_prefix()}}}:tasks")
    broker = brokers(options=StreamOptions(lease=1.0, misfit_grace=0.1, quarantine=False))
    echo = _register(broker)
    async with Redis.from_url(ground.redis_url) as redis:
        before = [await echo.kiq(number) for number in range(2)]
        await _put(redis, broker.keys, odd)
        async with working(broker):
            # A worker that finds these at its start says so, and does not begin.
            for name, (kind, value) in odd.foreign.items():
                await put_foreign(redis, cast("str", getattr(broker.keys, name)), kind, value)
            after = [await echo.kiq(number) for number in range(2)]
            for sent, number in zip([*before, *after], [0, 1, 0, 1], strict=True):
                assert (await sent.wait_result(timeout=HANG)).return_value == number
            if not odd.foreign:
                streams = [broker.keys.name, broker.keys.returned("default")]

                async def is_over() -> bool:
                    return not any([await redis.xlen(stream) for stream in streams])

                await eventually(is_over)
        if "dead" not in odd.foreign:
            letters = await broker.dead_letters.list()
            for letter in letters:
                check_printed(shown_letter(letter).replace("Traceback (most recent call last)", "Error"))
            assert letters_table(letters).row_count == len(letters)
        for run in await read_runs(broker.connection.redis, broker.keys, limit=1000):
            page = f"{run_lines(run)}\n{run_page(run)}"
            check_printed(page.replace("Traceback (most recent call last)", "Error"))
        await redis.delete(*await redis.keys(f"{broker.keys.name}*"))
    await brokers.close()


def _try_out(ground: Ground, odd: Odd) -> None:
    with judged_log():
        asyncio.run(_deliver(ground, odd))


SURFACE: Final = Surface(name="messages", inputs=_INPUTS, try_out=_try_out, size=len, examples=3)
