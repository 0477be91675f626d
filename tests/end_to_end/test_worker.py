"""The service in workers of taskiq's command; nearly all other tests have kiqstart's."""

import signal

import pytest
from redis.asyncio import Redis
from tests.deadlines import HANG, SOON

from kiqstart.testing import ProcessFactory, eventually
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.ioc.container import ServiceContainer


@pytest.fixture
def worker(taskiq_worker: ProcessFactory) -> ProcessFactory:
    return taskiq_worker


async def test_a_finished_task_leaves_nothing_in_the_stream_and_its_result_expires(
    registry: TasksRegistry, worker: ProcessFactory, redis_url: str, key_prefix: str
) -> None:
    with worker():
        tasks = [await registry.ping.kiq() for _ in range(20)]
        for task in tasks:
            assert (await task.wait_result(timeout=HANG)).return_value == {"result": "pong"}
    async with Redis.from_url(redis_url) as redis:
        assert await redis.xlen(f"{{{key_prefix}}}:tasks") == 0
        assert 0 < await redis.ttl(f"{{{key_prefix}}}:result:{tasks[0].task_id}") <= 3600


async def test_a_task_is_run_that_was_sent_before_any_worker_by_a_program_that_started_nothing(
    container: ServiceContainer, worker: ProcessFactory
) -> None:
    registry = container.resolve(TasksRegistry)
    task = await registry.ping.kiq()
    with worker():
        assert (await task.wait_result(timeout=HANG)).return_value == {"result": "pong"}
    await registry.broker.shutdown()


async def test_several_workers_share_the_work(registry: TasksRegistry, worker: ProcessFactory) -> None:
    with worker() as one, worker() as other:
        tasks = [await registry.ping.kiq() for _ in range(100)]
        for task in tasks:
            await task.wait_result(check_interval=0.05, timeout=HANG)
    assert one.log.count("Task ping succeeded") + other.log.count("Task ping succeeded") == 100


async def test_an_idle_worker_ends_soon_after_sigterm(registry: TasksRegistry, worker: ProcessFactory) -> None:
    process = worker.start()
    process.wait_for_log("Listening started.")
    await (await registry.ping.kiq()).wait_result(timeout=HANG)
    assert process.stop(SOON) == 0


async def test_workers_end_when_their_process_manager_is_killed(worker: ProcessFactory) -> None:
    process = worker.start("--workers", "2")
    process.wait_for_log("Listening started.", times=2)
    process.send_signal(signal.SIGKILL)
    process.wait()

    async def both_have_ended() -> bool:
        return process.log.count("Shutting down the broker.") == 2

    await eventually(both_have_ended)


async def test_every_line_of_a_task_carries_its_id_in_json(registry: TasksRegistry, worker: ProcessFactory) -> None:
    with worker("--no-configure-logging", environment={"LOG_FORMAT": "json"}) as process:
        task = await registry.ping.kiq()
        await task.wait_result(timeout=HANG)
        process.wait_for_log("Task ping succeeded")
    line = next(line for line in process.log.splitlines() if "Task ping succeeded" in line)
    assert f'"task_id": "{task.task_id}"' in line
    assert '"task_name": "ping"' in line


async def test_no_password_is_logged_even_when_all_is(worker: ProcessFactory) -> None:
    broken = {"DATABASE_URL": "postgresql://someone:hunter2@127.0.0.1:1/nowhere", "LOG_LEVEL": "DEBUG"}
    process = worker.start("--log-level", "DEBUG", environment=broken)
    assert process.wait() != 0
    assert "cannot reach PostgreSQL" in process.log
    assert "hunter2" not in process.log


async def test_a_worker_takes_the_queues_that_its_environment_names(
    registry: TasksRegistry, worker: ProcessFactory
) -> None:
    low = await registry.ping.kicker().with_labels(queue_name="low").kiq()
    other = await registry.ping.kiq()
    with worker(environment={"TASKS_QUEUES": "low:2,mail", "TASKS_LEASE": "2"}):
        assert (await low.wait_result(timeout=HANG)).return_value == {"result": "pong"}
    assert not await other.is_ready()
