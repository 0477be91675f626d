import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis
from taskiq import Context, SmartRetryMiddleware, TaskiqDepends
from tests.deadlines import HANG, SOON
from tests.kiqstart.integration.broker.brokers import QUICK, Brokers, letters_of, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.registration import register_task


class Flaky:
    """A task that fails at first, and remembers when it ran."""

    def __init__(self, failures: int) -> None:
        self.times: list[float] = []
        self._failures = failures

    async def run(self) -> int:
        self.times.append(time.monotonic())
        if len(self.times) <= self._failures:
            raise OSError(f"failure {len(self.times)}")
        return len(self.times)

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]


async def test_retries_come_after_their_growing_delays(broker: StreamBroker) -> None:
    flaky = Flaky(failures=2)
    task = register_task(broker, flaky.run, name="flaky", max_retries=2, retry_delay=0.2, retry_backoff=3)
    async with working(broker):
        assert (await (await task.kiq()).wait_result(timeout=HANG)).return_value == 3
    first, second = flaky.gaps
    assert 0.2 <= first < 0.2 + SOON
    assert 0.6 <= second < 0.6 + SOON


async def test_a_task_whose_tries_are_spent_is_a_dead_letter_that_can_be_tried_anew(
    broker: StreamBroker, redis: Redis
) -> None:
    flaky = Flaky(failures=2)
    task = register_task(broker, flaky.run, name="flaky", max_retries=1, retry_delay=0)
    async with working(broker):
        sent = await task.kiq()
        assert str((await sent.wait_result(timeout=HANG)).error) == "failure 2"
    (letter,) = await letters_of(redis, broker)
    assert letter["reason"] == "retries-exhausted"
    assert letter["detail"].endswith("OSError: failure 2\n")
    message = broker.formatter.loads(letter["data"].encode())
    assert (message.task_id, message.labels["retries"]) == (sent.task_id, "0")


async def test_each_retry_is_run_once_however_many_workers_there_are(brokers: Brokers) -> None:
    runs: dict[int, int] = {}

    async def run(number: int) -> int:
        runs[number] = runs.get(number, 0) + 1
        if runs[number] == 1:
            raise OSError
        return number

    async with AsyncExitStack() as stack:
        made = [brokers(), brokers(), brokers()]
        tasks = [register_task(broker, run, name="run", max_retries=1, retry_delay=0.2) for broker in made]
        for broker in made:
            await stack.enter_async_context(working(broker))
        sent = [await tasks[0].kiq(number=number) for number in range(30)]
        results = [await one.wait_result(timeout=HANG) for one in sent]
    assert [result.return_value for result in results] == list(range(30))
    assert runs == dict.fromkeys(range(30), 2)


async def test_a_task_is_run_when_it_is_due_and_not_before(broker: StreamBroker) -> None:
    flaky = Flaky(failures=0)
    task = register_task(broker, flaky.run, name="run")
    async with working(broker):
        began = time.monotonic()
        await (await task.kicker().after(0.5).kiq()).wait_result(timeout=HANG)
        await (await task.kicker().at(datetime.now(UTC) + timedelta(seconds=0.5)).kiq()).wait_result(timeout=HANG)
    assert 0.5 <= flaky.times[0] - began < 0.5 + SOON
    # Redis' clock has whole milliseconds.
    assert 0.49 <= flaky.times[1] - flaky.times[0] < 0.5 + SOON


async def test_a_task_whose_time_has_passed_is_run_at_once(broker: StreamBroker) -> None:
    task = register_task(broker, Flaky(failures=0).run, name="run")
    async with working(broker):
        sent = await task.kicker().at(datetime(2020, 1, 1, tzinfo=UTC)).kiq()
        assert (await sent.wait_result(timeout=HANG)).return_value == 1


async def test_the_retries_of_taskiqs_own_middleware_wait_in_redis_and_keep_their_delay(
    redis_url: str, queue_name: str
) -> None:
    broker = StreamBroker(redis_url, queue_name=queue_name, options=QUICK)
    broker.add_middlewares(SmartRetryMiddleware(default_retry_count=3, default_delay=0.4, default_retry_label=True))
    flaky = Flaky(failures=1)

    async def run() -> int:
        return await flaky.run()

    task = broker.register_task(run, task_name="flaky")
    async with working(broker):
        sent = await task.kiq()
        assert (await sent.wait_result(timeout=HANG)).return_value == 2
        (gap,) = flaky.gaps
        assert 0.4 <= gap < 0.4 + SOON


async def test_a_task_that_puts_itself_back_into_the_queue_runs_again_with_its_id(
    broker: StreamBroker, redis: Redis
) -> None:
    task_ids: list[str] = []

    async def run(context: Context = TaskiqDepends()) -> int:
        task_ids.append(context.message.task_id)
        if len(task_ids) < 3:
            await context.requeue()
        return len(task_ids)

    async with working(broker):
        sent = await register_task(broker, run, name="run").kiq()
        assert (await sent.wait_result(timeout=HANG)).return_value == 3
    assert task_ids == [sent.task_id] * 3
    assert await redis.xlen(broker.keys.stream("default")) == 0
