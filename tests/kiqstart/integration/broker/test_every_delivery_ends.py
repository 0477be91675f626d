"""Whatever a stranger's message holds and whatever hooks and tasks raise: each delivery ends, in exactly one way."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from taskiq import NoResultError, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from tests.kiqstart.integration.broker.brokers import Brokers, letters_of, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

_EXAMPLES: Final = 20
_numbers: Final = count()

ERRORS: Final = [
    LookupError,
    ConnectionError,
    TypeError,
    asyncio.CancelledError,
    TimeoutError,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    StopIteration,
]
LABELS: Final = [
    "ack_type", "timeout", "retries", "max_retries", "retry_delay", "retry_backoff", "retry_max_delay", "retry_jitter",
    "unacknowledged", "misfit_since", "pool_crashes", "queue_name", "unique", "delay", "types_of_exceptions", "other",
]  # fmt: skip
HOOKS: Final = ["pre_execute", "on_error", "post_execute", "post_save", "nowhere"]
_numbers_and_texts = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8)
)
VALUES: Final = (
    _numbers_and_texts
    | st.lists(_numbers_and_texts, max_size=2)
    | st.dictionaries(st.text(max_size=2), _numbers_and_texts, max_size=2)
    | st.sampled_from(["nan", "inf", "-1", "1e306", 1e306, 0, 1, 3, "2", "manual", "when_received", "when_executed"])
)


@dataclass(kw_only=True)
class Case:
    """A message, and what goes wrong with its task."""

    task: str
    labels: dict[str, Any]
    labels_types: dict[str, int]
    hook: str
    hook_error: type[BaseException]
    task_error: type[BaseException] | None
    times: int
    raised: Counter[str] = field(default_factory=Counter[str])

    def strike(self, place: str, error: type[BaseException]) -> None:
        """Raise, up to so many times."""
        if self.raised[place] < self.times:
            self.raised[place] += 1
            raise error(place)


CASES: Final = st.builds(
    Case,
    task=st.sampled_from(["coroutine", "thread", "registered", "unknown", "misfit"]),
    labels=st.dictionaries(st.sampled_from(LABELS), VALUES, max_size=6),
    labels_types=st.dictionaries(st.sampled_from(LABELS), st.integers(-1, 7), max_size=1),
    hook=st.sampled_from(HOOKS),
    hook_error=st.sampled_from([*ERRORS, NoResultError]),
    task_error=st.none() | st.sampled_from(ERRORS),
    times=st.integers(1, 2),
)


class Striking(TaskiqMiddleware):
    """Raises where the case of a task says so."""

    def __init__(self, cases: dict[str, Case]) -> None:
        super().__init__()
        self._cases = cases

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        self.strike("pre_execute", message)
        return message

    def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:  # noqa: ARG002
        self.strike("on_error", message)

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:  # noqa: ARG002
        self.strike("post_execute", message)

    def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:  # noqa: ARG002
        self.strike("post_save", message)

    def strike(self, hook: str, message: TaskiqMessage) -> None:
        case = self._cases[message.task_id]
        if case.hook == hook:
            case.strike(hook, case.hook_error)


def register(broker: StreamBroker, cases: dict[str, Case]) -> None:
    def run(task_id: str) -> str:
        error = cases[task_id].task_error
        if error is not None:
            cases[task_id].strike("task", error)
        return "done"

    async def run_in_loop(task_id: str) -> str:
        return run(task_id)

    async def run_registered(task_id: str) -> str:
        return run(task_id)

    async def fit(task_id: str, *, missing: str) -> str:
        raise AssertionError(task_id, missing)

    broker.register_task(run_in_loop, task_name="coroutine")
    broker.register_task(run, task_name="thread")
    broker.register_task(fit, task_name="misfit")
    register_task(broker, run_registered, name="registered", max_retries=2, retry_delay=0)


@asynccontextmanager
async def announced(redis: Redis, broker: StreamBroker) -> AsyncGenerator[Counter[str]]:
    """How often each task's result is announced."""
    counts: Counter[str] = Counter()
    async with redis.pubsub() as subscription:
        await subscription.psubscribe(broker.keys.result("*"))

        async def listen() -> None:
            async for message in cast("AsyncIterator[dict[str, str]]", subscription.listen()):
                if message["type"] == "pmessage":
                    counts[message["channel"].removeprefix(broker.keys.result(""))] += 1

        listening = asyncio.create_task(listen())
        yield counts
        listening.cancel()
        await asyncio.wait({listening})


async def run_all(redis_url: str, prefix: str, given_cases: list[Case]) -> None:
    brokers = Brokers(redis_url, f"{{{prefix}-{next(_numbers)}}}:tasks")
    broker = brokers(options=StreamOptions(lease=1.0, misfit_grace=0.2))
    cases = {f"task-{number}": case for number, case in enumerate(given_cases)}
    broker.add_middlewares(Striking(cases))
    register(broker, cases)
    async with Redis.from_url(redis_url, decode_responses=True) as redis, announced(redis, broker) as results:
        for task_id, case in cases.items():
            message: dict[str, Any] = {"task_id": task_id, "task_name": case.task, "args": [task_id], "kwargs": {}}
            message |= {"labels": case.labels, "labels_types": case.labels_types}
            await redis.xadd(broker.keys.name, {"data": json.dumps(message)})

        async def is_over() -> bool:
            queued = [await redis.xlen(stream) for stream in broker.keys.streams("default")]
            delayed = set(cast("list[str]", await redis.zrange(broker.keys.delayed, 0, -1)))
            return not any(queued) and all(results[one] for one in cases.keys() - delayed)

        async with working(broker):
            await eventually(is_over)
        delayed = cast("list[str]", await redis.zrange(broker.keys.delayed, 0, -1))
        letters = Counter(json.loads(letter["data"])["task_id"] for letter in await letters_of(redis, broker))
        for task_id, case in cases.items():
            if task_id in delayed:
                assert (results[task_id], letters[task_id]) == (0, 0), case
            else:
                assert results[task_id] == 1, case
                assert letters[task_id] <= 1, case
                has_run = case.task not in {"unknown", "misfit"}
                assert case.raised or letters[task_id] or has_run, case
    await brokers.close()


@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(CASES, min_size=1, max_size=20))
def test_each_delivery_is_over_or_waits_for_its_next_try_and_each_caller_has_one_result(
    redis_url: str, key_prefix: str, cases: list[Case]
) -> None:
    asyncio.run(run_all(redis_url, key_prefix, cases))
