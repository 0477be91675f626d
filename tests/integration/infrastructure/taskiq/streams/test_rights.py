"""A Redis that refuses the user: for some seconds, or in part."""

import asyncio
import time
from collections.abc import Generator

import pytest
from tests.integration.infrastructure.redis.servers import Server, make_server, running
from tests.integration.infrastructure.taskiq.streams.brokers import Brokers, working

from kiqstart.infrastructure.taskiq.registration import register_task
from kiqstart.infrastructure.taskiq.streams.sender import SendFailedError


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with running(make_server(tmp_path_factory.mktemp("server"))) as server:
        yield server


def set_user(server: Server, name: str, *rules: str) -> str:
    """Make a user anew, and give the URL with which it comes."""
    server.ask("ACL", "SETUSER", name, "reset", "on", ">pw", *rules)
    return f"redis://{name}:pw@127.0.0.1:{server.port}/0"


def change_password(server: Server, name: str, password: str) -> None:
    server.ask("ACL", "SETUSER", name, "resetpass", f">{password}")
    server.ask("CLIENT", "KILL", "USER", name)


async def test_a_password_that_is_wrong_for_some_seconds_runs_nothing_twice_and_sends_say_so_at_once(
    server: Server, queue_name: str
) -> None:
    brokers = Brokers(set_user(server, "app", "~*", "&*", "+@all"), queue_name)
    broker = brokers()
    runs: list[int] = []
    may_end = asyncio.Event()

    async def note(number: int) -> int:
        runs.append(number)
        await may_end.wait()
        return number

    task = register_task(broker, note, name="note")
    async with working(broker):
        sent = [await task.kiq(number=number) for number in range(5)]
        while len(runs) < 5:  # noqa: ASYNC110  # the tasks begin at once
            await asyncio.sleep(0.01)
        change_password(server, "app", "other")
        may_end.set()
        began = time.monotonic()
        with pytest.raises(SendFailedError) as caught:
            await task.kiq(number=9)
        assert time.monotonic() - began < 1
        assert "username-password pair" in str(caught.value)
        assert "\n" not in str(caught.value)
        await asyncio.sleep(0.5)
        change_password(server, "app", "pw")
        results = [await one.wait_result(timeout=10) for one in sent]
    assert [one.return_value for one in results] == [0, 1, 2, 3, 4]
    assert sorted(runs) == [0, 1, 2, 3, 4]
    await brokers.close()


async def test_whoever_may_not_subscribe_waits_for_results_all_the_same_and_is_told_once(
    server: Server, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    brokers = Brokers(f"redis://127.0.0.1:{server.port}/0", queue_name)
    worker, deaf = brokers(), brokers(url=set_user(server, "deaf", "~*", "resetchannels", "+@all"))

    async def double(number: int) -> int:
        return number * 2

    for broker in (worker, deaf):
        register_task(broker, double, name="double")
    task = deaf.find_task("double")
    assert task is not None
    async with working(worker):
        first = await (await task.kiq(number=1)).wait_result(timeout=10)
        later = await asyncio.gather(*[(await task.kiq(number=number)).wait_result(timeout=10) for number in (2, 3)])
    assert [first.return_value, *(one.return_value for one in later)] == [2, 4, 6]
    assert sum("SUBSCRIBE" in record.message for record in caplog.records) == 1
    await brokers.close()
