import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from taskiq import Context, TaskiqDepends, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, letters_of, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.receiver import preflight
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually


class Recorder(TaskiqMiddleware):
    """Notes each hook, and how many messages are in the stream at that time."""

    def __init__(self, redis: Redis, stream: str) -> None:
        super().__init__()
        self.hooks: list[tuple[str, int]] = []
        self._redis = redis
        self._stream = stream

    async def note(self, hook: str) -> None:
        self.hooks.append((hook, await self._redis.xlen(self._stream)))

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        await self.note("pre_execute")
        if message.task_name == "refused":
            raise PermissionError("not today")
        return message

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:  # noqa: ARG002
        await self.note("post_execute")

    async def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:  # noqa: ARG002
        await self.note("post_save")


async def run() -> str:
    return "done"


@pytest.fixture
def recorder(broker: StreamBroker, redis: Redis) -> Recorder:
    recorder = Recorder(redis, broker.keys.stream("default"))
    broker.add_middlewares(recorder)
    return recorder


@pytest.mark.parametrize(
    ("ack_type", "left"), [("when_received", [1, 1, 0]), ("when_executed", [1, 1, 0]), ("when_saved", [1, 1, 0])]
)
async def test_a_message_is_gone_when_its_task_has_ended_or_says_and_the_result_is_stored(
    broker: StreamBroker, recorder: Recorder, ack_type: str, left: list[int]
) -> None:
    seen: list[int] = []

    async def look() -> str:
        await recorder.note("run")
        seen.append(recorder.hooks.pop()[1])
        return "done"

    async with working(broker):
        sent = await broker.register_task(look, task_name="look", ack_type=ack_type).kiq()
        assert (await sent.wait_result(timeout=HANG)).return_value == "done"

        async def has_ended() -> bool:
            return len(recorder.hooks) == 3

        await eventually(has_ended)
    assert recorder.hooks == list(zip(["pre_execute", "post_execute", "post_save"], left, strict=True))
    assert seen == [1]


async def test_a_hook_that_raises_before_a_task_fails_the_task_and_takes_it_out_of_the_stream(
    broker: StreamBroker, recorder: Recorder, redis: Redis
) -> None:
    async with working(broker):
        sent = await register_task(broker, run, name="refused").kiq()
        assert isinstance((await sent.wait_result(timeout=HANG)).error, PermissionError)
        assert not (await (await register_task(broker, run, name="run").kiq()).wait_result(timeout=HANG)).is_err
    assert recorder.hooks[0] == ("pre_execute", 1)
    assert await redis.xlen(broker.keys.stream("default")) == 0


async def test_a_task_that_acknowledges_by_itself_is_run_once(broker: StreamBroker, redis: Redis) -> None:
    runs = 0

    async def acknowledge(context: Context = TaskiqDepends()) -> None:
        nonlocal runs
        runs += 1
        await context.ack()

    async with working(broker):
        sent = await broker.register_task(acknowledge, task_name="acknowledge", ack_type="manual").kiq()
        await sent.wait_result(timeout=HANG)
    assert runs == 1
    assert await redis.xlen(broker.keys.stream("default")) == await redis.zcard(broker.keys.delayed) == 0


async def test_a_task_that_never_acknowledges_is_run_again_and_then_a_dead_letter(
    brokers: Brokers, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_SECONDS_UNTIL_AGAIN", 0.1)
    broker = brokers(options=StreamOptions(lease=1.0, max_deliveries=3))
    runs = 0

    async def forget() -> None:
        nonlocal runs
        runs += 1

    async def is_buried() -> bool:
        return await redis.exists(broker.keys.dead) == 1

    async with working(broker):
        await broker.register_task(forget, task_name="forget", ack_type="manual").kiq()
        await eventually(is_buried)
    assert runs == 3
    assert [letter["reason"] for letter in await letters_of(redis, broker)] == ["not-acknowledged"]


class Crowd:
    """Tasks that wait for each other, and how many run at once."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.may_end = asyncio.Event()

    async def run(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.may_end.wait()
        self.running -= 1


@pytest.mark.parametrize(("max_async_tasks", "max_prefetch"), [(2, 0), (2, 3)])
async def test_a_worker_has_no_more_in_hand_than_it_runs_and_prefetches(
    broker: StreamBroker, max_async_tasks: int, max_prefetch: int
) -> None:
    crowd = Crowd()
    task = register_task(broker, crowd.run, name="crowd")
    sent = [await task.kiq() for _ in range(8)]
    async with working(broker, max_async_tasks=max_async_tasks, max_prefetch=max_prefetch):
        consumer = await broker.consume()

        async def is_full() -> bool:
            return crowd.running == max_async_tasks and len(consumer.in_flight) == max_async_tasks + max_prefetch

        await eventually(is_full)
        crowd.may_end.set()
        for one in sent:
            await one.wait_result(timeout=HANG)
    assert crowd.most == max_async_tasks


async def test_a_worker_that_ends_gives_back_at_once_what_it_has_not_begun(brokers: Brokers, redis: Redis) -> None:
    broker, crowd = brokers(), Crowd()
    task = register_task(broker, crowd.run, name="crowd")
    for _ in range(4):
        await task.kiq()
    finish = asyncio.Event()

    async def are_given_back() -> bool:
        return await redis.xlen(broker.keys.returned("default")) == 3

    async def end() -> None:
        async with working(broker, max_async_tasks=1, max_prefetch=3):
            await finish.wait()

    ending = asyncio.create_task(end())

    async def are_taken() -> bool:
        return crowd.running == 1 and len((await broker.consume()).in_flight) == 4

    await eventually(are_taken)
    finish.set()
    await eventually(are_given_back)
    assert crowd.running == 1
    crowd.may_end.set()
    await ending
    other = brokers()
    register_task(other, crowd.run, name="crowd")
    async with working(other):

        async def all_have_run() -> bool:
            return await redis.xlen(broker.keys.returned("default")) == 0

        await eventually(all_have_run)


async def test_a_worker_takes_no_more_tasks_than_its_process_may_run(broker: StreamBroker, redis: Redis) -> None:
    task = register_task(broker, run, name="run")
    sent = [await task.kiq() for _ in range(5)]
    async with working(broker, max_tasks_to_execute=3):
        for one in sent[:3]:
            await one.wait_result(timeout=HANG)
    assert await redis.xlen(broker.keys.stream("default")) == 2
    assert not await sent[3].is_ready()
