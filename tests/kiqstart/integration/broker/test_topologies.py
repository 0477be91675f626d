"""The broker on every kind of Redis that a URL can name, and through the death of a server of each."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from redis.crc import key_slot
from taskiq import AsyncTaskiqTask, TaskiqResult
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.redis.servers import (
    ESCAPED_PASSWORD,
    PASSWORD,
    SLOTS,
    Server,
    cluster,
    cluster_url,
    make_server,
    moving_slot,
    running,
    sentinel_group,
)
from tests.kiqstart.integration.redis.tls import TlsKind, make_certificate, require_tls, running_with_tls

from kiqstart.broker import result_waiter as waiting
from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.errors import WiringError
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import TaskCancelledError
from kiqstart.testing import eventually

QUEUE = "{topology}:tasks"


@pytest.fixture(autouse=True)
def _hardly_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_SECONDS_BETWEEN_LOOKS", 1e6)


@pytest.fixture(params=["redis", "unix", "sentinel", "cluster", "rediss", "sentinels", "clusters"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """The URL of a Redis, of each kind in turn; those without TLS ask for a password, and some speak RESP3."""
    kind: Literal["redis", "unix", "sentinel", "cluster"] | TlsKind = request.param
    with ExitStack() as stack:
        match kind:
            case "redis":
                server = stack.enter_context(running(make_server(tmp_path, password=PASSWORD)))
                yield f"redis://:{ESCAPED_PASSWORD}@127.0.0.1:{server.port}/3"
            case "unix":
                # A socket's path has no more than some hundred characters.
                socket = Path(stack.enter_context(TemporaryDirectory(prefix="kiqstart-")), "redis.sock")
                stack.enter_context(running(make_server(tmp_path, "--unixsocket", str(socket), password=PASSWORD)))
                yield f"unix://:{ESCAPED_PASSWORD}@{socket}?db=3&protocol=3"
            case "sentinel":
                yield stack.enter_context(sentinel_group(tmp_path)).url
            case "cluster":
                nodes = stack.enter_context(cluster(tmp_path, password=PASSWORD))
                yield cluster_url(nodes, credentials=f":{ESCAPED_PASSWORD}@")
            case _:
                require_tls(tmp_path / "built")
                certificate = make_certificate(tmp_path)
                found = stack.enter_context(running_with_tls(kind, tmp_path, certificate))
                yield f"{found}?protocol=3&ssl_ca_certs={certificate.certificate}"


async def announced(sent: AsyncTaskiqTask[Any]) -> TaskiqResult[Any]:
    """The result of a task, which comes without a second look for it."""
    return await sent.wait_result(timeout=HANG)


async def runs(broker: StreamBroker) -> None:
    async def double(number: int) -> int:
        return number * 2

    task = register_task(broker, double, name="double")
    sent = [await task.kiq(number=number) for number in range(20)]
    for number, one in enumerate(sent):
        assert (await announced(one)).return_value == number * 2


async def retries(broker: StreamBroker) -> None:
    tries: list[float] = []

    async def fail_once() -> str:
        tries.append(asyncio.get_running_loop().time())
        if len(tries) == 1:
            raise ConnectionError("not yet")
        return "now"

    sent = await register_task(broker, fail_once, name="fail-once", max_retries=1, retry_delay=0.5).kiq()
    assert (await announced(sent)).return_value == "now"
    assert tries[1] - tries[0] >= 0.4


async def keeps_unique(broker: StreamBroker) -> None:
    is_open = asyncio.Event()

    async def hold(number: int) -> int:
        await is_open.wait()
        return number

    task = register_task(broker, hold, name="hold", unique="hold:{number}")
    first, second, other = [await task.kiq(number=number) for number in (1, 1, 2)]
    assert first.task_id == second.task_id != other.task_id
    is_open.set()
    for one, number in ((first, 1), (other, 2)):
        assert (await announced(one)).return_value == number
    assert (await task.kiq(number=1)).task_id != first.task_id


async def buries_and_digs_up(broker: StreamBroker) -> None:
    is_broken = True

    async def break_down() -> str:
        if is_broken:
            raise ValueError("broken")
        return "mended"

    sent = await register_task(broker, break_down, name="break-down", max_retries=1, retry_delay=0).kiq()
    assert (await announced(sent)).is_err
    [letter] = await broker.dead_letters.list()
    assert letter.task_id == sent.task_id
    is_broken = False
    await broker.dead_letters.retry(letter.id)
    assert (await announced(sent)).return_value == "mended"
    assert await broker.dead_letters.count() == 0


async def cancels(broker: StreamBroker) -> None:
    began = asyncio.Event()

    async def go_on() -> None:
        began.set()
        await asyncio.Event().wait()

    task = register_task(broker, go_on, name="go-on")
    delayed = await task.kicker().after(60).kiq()
    await broker.cancel(delayed.task_id)
    running_task = await task.kiq()
    await began.wait()
    await broker.cancel(running_task.task_id)
    for one in (delayed, running_task):
        error = (await announced(one)).error
        assert isinstance(error, TaskCancelledError)


CHECKS = (runs, retries, keeps_unique, buries_and_digs_up, cancels)


async def test_the_broker_works(url: str) -> None:
    brokers = Brokers(url, QUEUE)
    async with working(broker := brokers()):
        await asyncio.gather(*(check(broker) for check in CHECKS))


class Counter:
    """A task that notes its runs, and lasts for a moment."""

    def __init__(self, broker: StreamBroker) -> None:
        self.ran: list[int] = []
        self.task = register_task(broker, self.run, name="count")

    async def run(self, number: int) -> int:
        await asyncio.sleep(0.02)
        self.ran.append(number)
        return number


@asynccontextmanager
async def sending(counter: Counter) -> AsyncGenerator[list[AsyncTaskiqTask[int]]]:
    """Send tasks one after another until the end of the block; they are numbered."""
    sent: list[AsyncTaskiqTask[int]] = []

    is_enough = asyncio.Event()

    async def send() -> None:
        while not is_enough.is_set():
            sent.append(await counter.task.kiq(number=len(sent)))
            await asyncio.sleep(0.005)

    sender = asyncio.create_task(send())
    try:
        yield sent
    finally:
        is_enough.set()
        await sender


async def test_tasks_outlast_the_crash_of_a_master(tmp_path: Path) -> None:
    with sentinel_group(tmp_path) as group:
        broker = Brokers(group.url, QUEUE)()
        counter, is_over = Counter(broker), asyncio.Event()
        async with working(broker, max_async_tasks=5):
            long = await register_task(broker, is_over.wait, name="long").kiq()
            waiting_for_it = asyncio.create_task(long.wait_result(timeout=HANG))
            async with sending(counter) as sent:
                await eventually(lambda: has(sent, 100))
                replicated = len(sent)
                await asyncio.to_thread(wait_for_replica, group.master)
                group.master.kill()
                before = len(sent)
                await asyncio.to_thread(group.wait_for_failover)
                await eventually(lambda: has(sent, before + 100))
            results = await asyncio.gather(*(announced(one) for one in (*sent[:replicated], *sent[before + 1 :])))
            is_over.set()
            results.append(await waiting_for_it)
        assert all(not result.is_err for result in results)
        expected = {*range(replicated), *range(before + 1, len(sent))}
        assert expected <= set(counter.ran)
        # Only what the crash may have cut off runs again.
        assert len(counter.ran) - len(set(counter.ran)) <= 10


async def has(sent: list[AsyncTaskiqTask[int]], count: int) -> bool:
    return len(sent) >= count


def wait_for_replica(master: Server) -> None:
    """Wait until the replica has all that the master has at this moment."""
    with master.client() as client:
        client.set("marker", 1)
        assert client.wait(1, round(HANG * 1000)) == 1


SLOT = key_slot(QUEUE.encode())


@contextmanager
def cluster_around_the_queue(folder: Path) -> Generator[tuple[Server, list[Server]]]:
    """Run a cluster that serves what it can; give the queue's node and the others."""
    with cluster(folder) as nodes:
        place = SLOT * len(nodes) // SLOTS
        for node in nodes:
            with node.client() as client:
                client.config_set("cluster-require-full-coverage", "no")
        yield nodes[place], nodes[:place] + nodes[place + 1 :]


async def test_the_death_of_a_clusters_other_node_is_not_noticed(tmp_path: Path) -> None:
    with cluster_around_the_queue(tmp_path) as (home, others):
        url = cluster_url([*others, home])
        brokers = Brokers(url, QUEUE)
        broker = brokers()
        counter = Counter(broker)
        async with working(broker):
            async with sending(counter) as sent:
                await eventually(lambda: has(sent, 20))
                others[0].kill()
                before = len(sent)
                await eventually(lambda: has(sent, before + 100))
            await asyncio.gather(*(announced(one) for one in sent))
            assert sorted(counter.ran) == list(range(len(sent)))
        # Whoever comes only now asks a node that is there.
        async with working(late := brokers()):
            await asyncio.gather(*(check(late) for check in CHECKS))


async def test_tasks_follow_their_queue_to_another_node(tmp_path: Path) -> None:
    with cluster_around_the_queue(tmp_path) as (home, others):
        broker = Brokers(cluster_url([home]), QUEUE)()
        counter = Counter(broker)
        async with working(broker, max_async_tasks=5):
            async with sending(counter) as sent:
                await eventually(lambda: has(sent, 20))
                with moving_slot(SLOT, home, others[0]):
                    late = asyncio.create_task(counter.task.kiq(number=-1))
                    # Longer than redis-py asks by itself.
                    await asyncio.wait({late}, timeout=0.7)
                    assert not late.done()
                before = len(sent)
                await eventually(lambda: has(sent, before + 20))
            await asyncio.gather(*(announced(one) for one in (await late, *sent)))
        assert sorted(counter.ran) == list(range(-1, len(sent)))
        with others[0].client() as client:
            assert client.exists(broker.keys.epoch)


@pytest.mark.parametrize(("queue", "results"), [("tasks", "results"), ("{tasks}", "{results}"), ("a}b", None)])
def test_a_queue_that_a_cluster_would_tear_apart_is_refused(queue: str, results: str | None) -> None:
    with pytest.raises(WiringError, match="on a cluster all keys of a queue need one hash tag") as refused:
        StreamBroker("cluster://127.0.0.1:7000", queue, result_prefix=results)
    assert repr(queue) in str(refused.value)
    assert "\n" not in str(refused.value)
    StreamBroker("redis://127.0.0.1:7000", queue, result_prefix=results)


def test_results_of_the_queues_hash_tag_are_taken_by_a_cluster() -> None:
    StreamBroker("cluster://127.0.0.1:7000", "tasks", result_prefix="{tasks}:outcomes")
