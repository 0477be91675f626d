import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from taskiq import AsyncTaskiqDecoratedTask
from tests.deadlines import HANG
from tests.fork_server.client import ForkingFactory
from tests.kiqstart.integration.broker.apps.quarantine import QUICK, Tasks, hold
from tests.kiqstart.integration.broker.brokers import Brokers, letters_of

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.fetcher import MOST_AT_ONCE
from kiqstart.tasks.results.errors import WorkerLostError
from kiqstart.testing import ProcessFactory, eventually
from kiqstart.testing.processes import ServiceProcess, kiqstart_command, taskiq_command

APP = "tests.kiqstart.integration.broker.apps.quarantine:broker"
MADE = "tests.kiqstart.integration.broker.apps.quarantine:made"
MORE_TASKS = "tests.kiqstart.integration.broker.apps.more_tasks"
WARD = re.compile(r"run in a process of their own: (\d+)")


@pytest_asyncio.fixture
async def broker(redis_url: str, queue_name: str) -> AsyncGenerator[StreamBroker]:
    made = StreamBroker(redis_url, queue_name=queue_name, options=QUICK)
    yield made
    await made.shutdown()


@pytest.fixture
def tasks(broker: StreamBroker) -> Tasks:
    return Tasks(broker)


@pytest.fixture
def environment(redis_url: str, queue_name: str) -> dict[str, str]:
    return {"REDIS_URL": redis_url, "QUEUE_NAME": queue_name}


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> ProcessFactory:
    return ForkingFactory(
        command=kiqstart_command("worker", APP),
        environment=environment,
        ready="Listening started.",
        log_folder=tmp_path,
    )


@pytest.mark.parametrize(
    ("command", "how"),
    [
        pytest.param(kiqstart_command("worker", APP), "kill", id="kiqstart-kill"),
        pytest.param(
            taskiq_command("worker", MADE, "--receiver", "taskiq.receiver.receiver:Receiver"),
            "segfault",
            id="taskiqs-receiver-segfault-made-by-a-function",
        ),
    ],
)
async def test_a_task_that_kills_its_workers_ends_after_its_tries_and_takes_nobody_with_it(
    command: list[str],
    how: str,
    environment: dict[str, str],
    tmp_path: Path,
    tasks: Tasks,
    redis: Redis,
    broker: StreamBroker,
) -> None:
    several = [*command, "--workers", "2"]
    factory = ForkingFactory(command=several, environment=environment, ready="Listening", log_folder=tmp_path)
    with factory() as process:
        poison = await tasks.strike.kiq(how)
        innocent = [await tasks.nap.kiq(1.0) for _ in range(3)]
        assert isinstance((await poison.wait_result(timeout=HANG)).error, WorkerLostError), process.log
        for one in innocent:
            assert not (await one.wait_result(timeout=HANG)).is_err
    assert await redis.get(f"{broker.keys.name}:strikes") == str(QUICK.max_deliveries)
    letters = [(letter["reason"], letter["deliveries"]) for letter in await letters_of(redis, broker)]
    assert letters == [("worker-lost", str(QUICK.max_deliveries))]


async def test_of_many_suspects_only_the_one_is_condemned_that_kills_its_process(
    worker: ProcessFactory, tasks: Tasks, redis: Redis, broker: StreamBroker
) -> None:
    innocent = [await tasks.nap.kiq(0.4) for _ in range(MOST_AT_ONCE + 4)]
    poison = await tasks.strike.kiq("exit")
    await make_suspects(redis, broker, first=poison.task_id)
    with worker() as process:
        assert isinstance((await poison.wait_result(timeout=HANG)).error, WorkerLostError), process.log
        for one in innocent:
            assert not (await one.wait_result(timeout=HANG)).is_err
        assert "each that ran in it runs alone next" in process.log
    assert len(await letters_of(redis, broker)) == 1
    assert await redis.get(f"{broker.keys.name}:strikes") == "2"


async def test_other_tasks_go_on_while_suspects_run(
    worker: ProcessFactory, tasks: Tasks, redis: Redis, broker: StreamBroker, tmp_path: Path
) -> None:
    may_end = tmp_path / "may-end"
    # Its module is none that the broker's imports: without it the task would be an unknown one.
    late: AsyncTaskiqDecoratedTask[[str], Any] = broker.register_task(hold, task_name="late")
    suspect = await late.kiq(str(may_end))
    await make_suspects(redis, broker)
    with worker(MORE_TASKS):
        await until_taken(redis, broker)
        other = await tasks.nap.kiq(0.0)
        other_process = (await other.wait_result(timeout=HANG)).return_value
        assert not await broker.result_backend.is_result_ready(suspect.task_id)
        may_end.touch()
        assert (await suspect.wait_result(timeout=HANG)).return_value != other_process


@pytest.mark.parametrize("kind", ["nap", "block"])
async def test_a_killed_worker_leaves_no_process_behind_and_its_suspects_wait_uncounted(
    kind: str, worker: ProcessFactory, tasks: Tasks, redis: Redis, broker: StreamBroker
) -> None:
    await {"nap": tasks.nap, "block": tasks.block}[kind].kiq(600.0)
    await make_suspects(redis, broker)
    with worker() as process:
        ward = await ward_of(process)
        await until_taken(redis, broker)
        os.kill(process.pid, signal.SIGKILL)
        await until_gone(ward)
    assert await deliveries_of(redis, broker.keys.suspects("default")) == ["2"]
    assert await letters_of(redis, broker) == []


@pytest.mark.parametrize("command", ["kiqstart", "taskiq"])
async def test_a_worker_that_is_asked_to_end_takes_its_process_for_suspects_with_it(
    command: str, environment: dict[str, str], tmp_path: Path, tasks: Tasks, redis: Redis, broker: StreamBroker
) -> None:
    await tasks.nap.kiq(600.0)
    await make_suspects(redis, broker)
    line = kiqstart_command("worker", APP) if command == "kiqstart" else taskiq_command("worker", APP, "--workers", "1")
    factory = ForkingFactory(
        command=[*line, "--wait-tasks-timeout", "0.5"], environment=environment, ready="Listening", log_folder=tmp_path
    )
    with factory() as process:
        ward = await ward_of(process)
        await until_taken(redis, broker)
        process.send_signal(signal.SIGTERM)
        await until_gone(ward)
        process.wait()
        assert "Traceback" not in process.log
        assert "WARNING" not in process.log.replace("tasks did not end in time", ""), process.log
    assert await deliveries_of(redis, broker.keys.suspects("default")) == ["2"]


async def test_a_suspect_may_end_while_its_worker_waits_for_it(
    worker: ProcessFactory, tasks: Tasks, redis: Redis, broker: StreamBroker, tmp_path: Path
) -> None:
    may_end = tmp_path / "may-end"

    async def has_begun() -> bool:
        return may_end.with_suffix(".begun").exists()

    suspect = await tasks.hold.kiq(str(may_end))
    await make_suspects(redis, broker)
    with worker() as process:
        await eventually(has_begun, within=HANG)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        may_end.touch()
        assert process.wait() == 0
    assert await broker.result_backend.is_result_ready(suspect.task_id)


async def test_few_suspects_run_in_several_processes_alone_in_each(
    worker: ProcessFactory, tasks: Tasks, redis: Redis, broker: StreamBroker, tmp_path: Path
) -> None:
    may_end = tmp_path / "may-end"
    sent = [await tasks.hold.kiq(str(may_end)) for _ in range(3)]
    await make_suspects(redis, broker)
    with worker() as process:
        await until_taken(redis, broker, 2)
        may_end.touch()
        ran_in = [(await one.wait_result(timeout=HANG)).return_value for one in sent]
        assert len(WARD.findall(process.log)) > 1, process.log
    assert len(set(ran_in)) > 1


async def test_a_process_for_suspects_ends_when_there_are_none(
    environment: dict[str, str], tmp_path: Path, tasks: Tasks, redis: Redis, broker: StreamBroker
) -> None:
    worker = kiqstart_command("worker", MADE)
    factory = ForkingFactory(command=worker, environment=environment, ready="Listening", log_folder=tmp_path)
    suspect = await tasks.nap.kiq(0.0)
    await make_suspects(redis, broker)
    with factory() as process:
        await suspect.wait_result(timeout=HANG)
        await until_gone(await ward_of(process))
        assert "No tasks are left whose workers died repeatedly; this process ends" in process.log
        # That is no death.
        assert "WARNING" not in process.log


async def test_the_janitor_counts_suspects_of_queues_that_it_does_not_take(brokers: Brokers, redis: Redis) -> None:
    janitor, other = brokers(queues={"default": 1}), brokers(queues={"low": 1})

    async def is_told() -> bool:
        return str(await redis.get(janitor.keys.janitor)).split("|")[2:3] == ["1"]

    await janitor.consume()
    await other.consume()
    await redis.xadd(janitor.keys.suspects("low"), {"data": "{}", "deliveries": "2"})
    await eventually(is_told)


async def test_what_is_to_run_alone_is_taken_alone(brokers: Brokers, redis: Redis) -> None:
    names: list[str] = []
    broker = brokers()
    broker.run_suspects(names.append, lambda _: None)
    consumer = await broker.consume()
    for stream in broker.keys.quarantine("default"):
        await redis.xadd(stream, {"data": "{}", "deliveries": "2"})
    # As if they had come in between: a read that waits is handed one of each stream.
    consumer._fetcher._is_backlog = False
    taken = await consumer.fetch(MOST_AT_ONCE)
    assert [one.stream for one in taken] == [broker.keys.isolated("default")]
    assert await redis.xlen(broker.keys.suspects("default")) == 1
    assert names == [consumer.lease.worker]


async def make_suspects(redis: Redis, broker: StreamBroker, *, first: str | None = None) -> None:
    """Let all that was sent wait as if its workers had died, each time one less than often enough."""
    entries = cast("list[tuple[str, dict[str, str]]]", await redis.xrange(broker.keys.name))
    for entry, fields in sorted(entries, key=lambda one: json.loads(one[1]["data"])["task_id"] != first):
        deaths = QUICK.max_deliveries - 1
        await redis.xadd(broker.keys.suspects("default"), {"data": fields["data"], "deliveries": deaths})
        await redis.xdel(broker.keys.name, entry)


async def ward_of(process: ServiceProcess) -> int:
    """The process for suspects that a worker has started."""

    async def is_there() -> bool:
        return WARD.search(process.log) is not None

    await eventually(is_there, within=HANG)
    (found, *_) = WARD.findall(process.log)
    return int(found)


async def until_taken(redis: Redis, broker: StreamBroker, count: int = 1) -> None:
    """Wait until so many processes have a suspect each."""

    async def is_taken() -> bool:
        pending = await redis.xpending(broker.keys.suspects("default"), broker.consumer_group_name)
        return int(pending["pending"]) >= count

    await eventually(is_taken, within=HANG)


async def until_gone(pid: int) -> None:
    """Wait until a process has ended."""

    async def has_ended() -> bool:
        return not is_running(pid)

    await eventually(has_ended, within=HANG)


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def deliveries_of(redis: Redis, stream: str) -> list[str]:
    """How many workers have died with what waits in a stream."""
    entries = cast("list[tuple[str, dict[str, str]]]", await redis.xrange(stream))
    return [fields["deliveries"] for _, fields in entries]
