import asyncio
import multiprocessing
import os
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ProcessPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import pytest
from pydantic import BaseModel
from redis.asyncio import Redis
from taskiq import AsyncBroker, Context, TaskiqDepends, TaskiqMessage, TaskiqMiddleware
from taskiq.depends.progress_tracker import ProgressTracker, TaskState
from taskiq.exceptions import NoResultError, TaskiqResultTimeoutError, TaskRejectedError
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.broker.documented.processes import add
from tests.kiqstart.integration.broker.documented.serving import outcome, serving

from kiqstart.broker.broker import StreamBroker
from kiqstart.testing import eventually

OWNER = UUID("6a1c1f1e-5d0b-4b0e-9f53-0d6ac1d0a001")
NOON = datetime(2026, 10, 25, 12, tzinfo=UTC)


@dataclass
class Point:
    x: int
    y: int


class Line(BaseModel):
    start: Point
    end: Point
    drawn_at: datetime | None = None


class Colour(StrEnum):
    RED = "red"


async def test_labels_arrive_with_their_types(any_broker: AsyncBroker) -> None:
    seen: dict[str, object] = {}

    async def look(context: Context = TaskiqDepends()) -> None:
        seen.update(context.message.labels)

    task = any_broker.register_task(look, task_name="look", whole=1, half=0.5, yes=True, text="1", raw=b"\xff")
    async with serving(any_broker):
        sent = await task.kicker().with_labels(whole=2, no=False).kiq()
        await sent.wait_result(check_interval=0.01, timeout=HANG)
    expected = {"whole": 2, "half": 0.5, "yes": True, "no": False, "text": "1", "raw": b"\xff"}
    assert {name: seen[name] for name in expected} == expected
    assert [type(seen[name]) for name in expected] == [type(value) for value in expected.values()]


async def test_arguments_arrive_as_their_annotations_say(any_broker: AsyncBroker) -> None:
    seen: list[object] = []

    async def take(
        owner: UUID,
        point: Point,
        *more: Line,
        at: datetime,
        wait: timedelta,
        price: Decimal,
        colour: Colour | None = None,
        points: dict[str, list[Point]],
        anything: object = None,
    ) -> None:
        seen.extend((owner, point, more, at, wait, price, colour, points, anything))

    task = any_broker.register_task(take, task_name="take")
    line = Line(start=Point(0, 0), end=Point(1, 1), drawn_at=NOON)
    named = {
        "at": NOON,
        "wait": timedelta(seconds=5),
        "price": Decimal("1.10"),
        "colour": Colour.RED,
        "points": {"a": [Point(2, 2)]},
        "anything": Point(3, 3),
    }
    result = await outcome(task, OWNER, Point(1, 2), line, line, **named)
    assert result.error is None
    assert seen == [OWNER, Point(1, 2), (line, line), *list(named.values())[:-1], {"x": 3, "y": 3}]
    assert isinstance(seen[6], Colour)


async def test_arguments_stay_what_json_has_made_of_them_where_the_worker_is_told_so(broker: StreamBroker) -> None:
    async def take(owner: UUID, point: Point) -> str:
        return f"{type(owner).__name__} {type(point).__name__}"

    task = broker.register_task(take, task_name="take")
    async with working(broker, validate_params=False):
        result = await (await task.kiq(OWNER, Point(1, 2))).wait_result(timeout=HANG)
    assert result.return_value == "str dict"


class Tenant(TaskiqMiddleware):
    """Lets a task know whose it is, as logging does."""

    known: ContextVar[str] = ContextVar("tenant")

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        self.known.set(str(message.labels["tenant"]))
        return message


@pytest.mark.parametrize("is_async", [True, False])
async def test_context_variables_reach_a_task_also_in_its_thread(any_broker: AsyncBroker, *, is_async: bool) -> None:
    def look() -> list[object]:
        return [Tenant.known.get(), threading.current_thread() is threading.main_thread()]

    async def look_async() -> list[object]:
        return look()

    any_broker.add_middlewares(Tenant())
    task = any_broker.register_task(look_async if is_async else look, task_name="look", tenant="me")
    assert (await outcome(task)).return_value == ["me", is_async]


async def test_a_function_that_gives_a_coroutine_is_awaited(any_broker: AsyncBroker) -> None:
    async def answer() -> str:
        return "later"

    def ask() -> object:
        return answer()

    assert (await outcome(any_broker.register_task(ask, task_name="ask"))).return_value == "later"


async def test_functions_run_in_processes_where_the_worker_has_them(broker: StreamBroker) -> None:
    broker.local_task_registry[add.task_name] = add
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        async with working(broker, executor=processes):
            sent = await add.kicker().with_broker(broker).kiq(1, other=2)
            total, process = (await sent.wait_result(timeout=HANG)).return_value
    assert total == 3
    assert process != os.getpid()


async def test_a_task_that_gives_no_result_leaves_none(any_broker: AsyncBroker) -> None:
    async def give_none() -> None:
        raise NoResultError

    task = any_broker.register_task(give_none, task_name="give-none")
    async with serving(any_broker):
        sent = await task.kiq()
        with pytest.raises(TaskiqResultTimeoutError):
            await sent.wait_result(check_interval=0.01, timeout=0.3)
        assert not await sent.is_ready()


async def test_a_task_that_rejects_its_message_has_failed_and_its_generators_are_told(any_broker: AsyncBroker) -> None:
    told: list[type[BaseException]] = []

    async def transaction() -> AsyncGenerator[None]:
        try:
            yield
        except TaskRejectedError as error:
            told.append(type(error))

    async def reject(_: None = TaskiqDepends(transaction), context: Context = TaskiqDepends()) -> None:
        context.reject()

    result = await outcome(any_broker.register_task(reject, task_name="reject"))
    # Through Redis it has lost its class, as all of taskiq's errors do: they cannot be made from their arguments.
    assert "Task was rejected" in str(result.error)
    assert told == [TaskRejectedError]


@pytest.mark.parametrize("ending", ["reject", "no result"])
async def test_what_is_rejected_or_gives_no_result_is_not_run_again(
    broker: StreamBroker, redis: Redis, ending: str
) -> None:
    async def end(context: Context = TaskiqDepends()) -> None:
        if ending == "reject":
            context.reject()
        raise NoResultError

    async with working(broker):
        await broker.register_task(end, task_name="end").kiq()

        async def has_ended() -> bool:
            return await redis.xlen(broker.keys.stream("default")) == 0

        await eventually(has_ended)
    assert await redis.exists(broker.keys.dead, broker.keys.delayed) == 0


async def test_progress_is_seen_elsewhere_while_the_task_runs(brokers: Brokers) -> None:
    may_end = asyncio.Event()

    async def work(progress: ProgressTracker[dict[str, int]] = TaskiqDepends()) -> None:
        await progress.set_progress(TaskState.STARTED, {"done": 1})
        await progress.set_progress("half-way", {"done": 5})
        await may_end.wait()

    worker, elsewhere = brokers(), brokers()
    async with working(worker):
        sent = await worker.register_task(work, task_name="work").kiq()

        async def is_half_way() -> bool:
            progress = await elsewhere.result_backend.get_progress(sent.task_id)
            return progress is not None and (progress.state, progress.meta) == ("half-way", {"done": 5})

        await eventually(is_half_way)
        may_end.set()
        await sent.wait_result(timeout=HANG)
        final = await sent.get_progress()
    assert final is not None
    assert final.state == "half-way"
