import asyncio
import signal
import time
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.apps.tasks import Tasks
from tests.kiqstart.integration.broker.brokers import Brokers, letters_of
from tests.kiqstart.integration.redis.servers import make_server, running

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.results.errors import WorkerLostError
from kiqstart.testing import ProcessFactory, eventually
from kiqstart.testing.processes import taskiq_command

SEND_DEADLINE = 2.0
APP = "tests.kiqstart.integration.broker.apps.worker"


@pytest.fixture
def worker(redis_url: str, queue_name: str, tmp_path: Path) -> ProcessFactory:
    return ProcessFactory(
        command=taskiq_command("worker", f"{APP}:broker", "--workers", "1"),
        environment={"REDIS_URL": redis_url, "QUEUE_NAME": queue_name},
        ready="Listening started.",
        log_folder=tmp_path,
    )


@pytest.fixture
def tasks(broker: StreamBroker) -> Tasks:
    return Tasks(broker)


async def test_a_retry_outlives_the_worker_that_failed(
    worker: ProcessFactory, tasks: Tasks, broker: StreamBroker, redis: Redis
) -> None:
    async def waits_in_redis() -> bool:
        return await redis.zcard(broker.keys.delayed) == 1

    with worker() as failed:
        sent = await tasks.fail_first.kiq()
        await eventually(waits_in_redis)
        failed.kill()
        with worker():
            assert not (await sent.wait_result(timeout=HANG)).is_err
    assert await redis.get(f"{broker.keys.name}:tries") == "2"


async def test_a_process_that_a_task_blocks_is_replaced_and_its_other_tasks_run_in_the_next_one(
    worker: ProcessFactory, tasks: Tasks, broker: StreamBroker, redis: Redis
) -> None:
    with worker() as process:
        lingering = await tasks.linger.kiq()

        async def lingers() -> bool:
            return await redis.llen(f"{broker.keys.name}:lingering") == 1

        await eventually(lingers)
        blocking = await tasks.block.kiq()
        before, after = (await lingering.wait_result(timeout=HANG)).return_value
        assert before != after
        assert "This worker process is replaced; its other tasks are given back" in process.log
        # It went down with its worker as often as is allowed here: once.
        assert isinstance((await blocking.wait_result(timeout=HANG)).error, WorkerLostError)
    assert [letter["reason"] for letter in await letters_of(redis, broker)] == ["worker-lost"]


async def test_taskiqs_own_receiver_runs_tasks_and_leaves_nothing(
    worker: ProcessFactory, tasks: Tasks, broker: StreamBroker, redis: Redis
) -> None:
    with worker("--receiver", "taskiq.receiver.receiver:Receiver"):
        sent = [await tasks.tell_process.kiq() for _ in range(20)]
        processes = {(await one.wait_result(timeout=HANG)).return_value for one in sent}
        assert len(processes) == 1
        assert await redis.xlen(broker.keys.stream("default")) == 0


async def test_a_worker_ends_although_redis_does_not_come_back(
    worker: ProcessFactory, queue_name: str, tmp_path: Path
) -> None:
    go_on = tmp_path / "go-on"

    async def waits() -> bool:
        return go_on.with_suffix(".waits").exists()

    with running(make_server(tmp_path / "redis")) as server:
        brokers = Brokers(f"redis://127.0.0.1:{server.port}", queue_name)
        with worker(environment={"REDIS_URL": brokers.url, "SEND_DEADLINE": str(SEND_DEADLINE)}) as process:
            await Tasks(brokers()).wait_for_file.kiq(str(go_on))
            await brokers.close()
            await eventually(waits)
            server.kill()
            process.send_signal(signal.SIGTERM)
            process.wait_for_log("Waiting for 1 running tasks to complete")
            go_on.touch()
            ended = time.monotonic()
            process.wait()
            assert time.monotonic() - ended > SEND_DEADLINE, process.log
            assert "has ended, but will run again" in process.log


@pytest.mark.parametrize(
    "receiver",
    [(), ("--receiver", "taskiq.receiver.receiver:Receiver", "--shutdown-timeout", "20")],
    ids=["own", "taskiq's"],
)
async def test_what_has_ended_when_the_grace_is_over_waits_for_redis(
    worker: ProcessFactory, queue_name: str, tmp_path: Path, receiver: tuple[str, ...]
) -> None:
    go_on = tmp_path / "go-on"

    async def waits() -> bool:
        return go_on.with_suffix(".waits").exists()

    with running(make_server(tmp_path / "redis", "--appendonly", "yes")) as server:
        brokers = Brokers(f"redis://127.0.0.1:{server.port}", queue_name)
        broker = brokers()
        with worker("--wait-tasks-timeout", "1", *receiver, environment={"REDIS_URL": brokers.url}) as process:
            task = await Tasks(broker).wait_for_file.kiq(str(go_on))
            await eventually(waits)
            server.kill()
            go_on.touch()
            process.wait_for_log("Results wait for Redis, 1 of them")
            process.send_signal(signal.SIGTERM)
            process.wait_for_log("Waiting for 1 running tasks to complete")
            # The grace is over then, and more than the five seconds that taskiq gives a broker to shut down.
            await asyncio.sleep(7.0)
            server.start()
            process.wait()
        assert await broker.result_backend.is_result_ready(task.task_id), process.log
        for stream in broker.keys.streams("default"):
            assert await cast("Redis", broker.connection.redis).xlen(stream) == 0
        await brokers.close()
