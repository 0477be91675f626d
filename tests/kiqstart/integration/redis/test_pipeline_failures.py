"""Commands of many callers on one connection that is cut, falls silent, or is let go."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from tests.deadlines import HANG, SOON
from tests.kiqstart.integration.redis.pipelines import connections_so_far, network_before, pipeline_to, url_of
from tests.kiqstart.integration.redis.servers import Server, free_port, make_server, running
from tests.kiqstart.integration.redis.tls import make_certificate, require_tls, running_with_tls

from kiqstart.redis.pipeline import MultiplexedClient

SECONDS = 0.3


async def outcomes(*asked: "asyncio.Future[object]") -> list[object]:
    """Answers and errors, which have to be there soon."""
    async with asyncio.timeout(HANG):
        return await asyncio.gather(*asked, return_exceptions=True)


async def test_a_connection_that_is_cut_fails_all_that_is_outstanding_and_the_next_command_has_a_new_one(
    server: Server,
) -> None:
    async with pipeline_to(url_of(server)) as client:
        number = cast("int", await client.execute_command("CLIENT", "ID"))
        before = connections_so_far(server)
        asked = [client.execute_command("BLPOP", "nothing", 20), *(client.execute_command("ECHO", n) for n in range(9))]
        await asyncio.sleep(0)
        with server.client() as killer:
            assert killer.execute_command("CLIENT", "KILL", "ID", number) == 1
        found = await outcomes(*asked)
        assert [type(answer) for answer in found] == [RedisConnectionError] * 10
        assert await outcomes(*(client.execute_command("ECHO", n) for n in range(2))) == [b"0", b"1"]
    # The killer's, the new one and that of the last look.
    assert connections_so_far(server) - before == 3


@pytest.mark.parametrize("is_frozen", [True, False])
async def test_a_server_that_falls_silent_fails_all_that_is_outstanding_in_time_and_the_connection_is_replaced(
    server: Server, *, is_frozen: bool
) -> None:
    async with network_before(server) as network, pipeline_to(network.url, seconds=SECONDS) as client:
        await client.execute_command("DEL", "count")
        if is_frozen:
            server.freeze()
        network.swallows = not is_frozen
        began = time.monotonic()
        found = await outcomes(*(client.execute_command("INCR", "count") for _ in range(5)))
        assert [type(answer) for answer in found] == [RedisTimeoutError] * 5
        assert str(found[0]) == "no answer for 0.3 s"
        assert SECONDS <= time.monotonic() - began < SECONDS + SOON
        server.thaw()
        network.swallows = False
        # Nothing was sent a second time.
        assert await client.execute_command("INCR", "count") == (6 if is_frozen else 1)
        assert network.connections == 2


async def test_answers_that_come_one_by_one_keep_a_connection_alive(server: Server) -> None:
    async with pipeline_to(url_of(server), seconds=SECONDS) as client:
        slow = (client.execute_command("BLPOP", "nothing", SECONDS / 2) for _ in range(5))
        assert await outcomes(*slow, client.execute_command("ECHO", 1)) == [None] * 5 + [b"1"]


LARGE = b"x" * 3_000_000
SLOW = 2_000_000


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_something_large_on_a_slow_link_takes_as_long_as_it_takes(
    server: Server, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def pass_it() -> tuple[list[object], int]:
        async with network_before(server) as network, pipeline_to(network.url, seconds=SECONDS) as client:
            network.bytes_per_second = SLOW
            asked = [client.execute_command("SET", "large", LARGE), client.execute_command("ECHO", 1)]
            return [
                *await outcomes(*asked),
                *await outcomes(client.execute_command("GET", "large")),
            ], network.connections

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(pass_it()) == ([b"OK", b"1", LARGE], 1)


async def test_a_link_that_dies_under_something_large_is_given_up(server: Server) -> None:
    async with network_before(server) as network, pipeline_to(network.url, seconds=SECONDS) as client:
        network.bytes_per_second = SLOW
        asked = client.execute_command("SET", "large", LARGE)
        await asyncio.sleep(SECONDS * 2)
        network.bytes_per_second = 0
        began = time.monotonic()
        [error] = await outcomes(asked)
        assert isinstance(error, RedisTimeoutError)
        assert time.monotonic() - began < SECONDS * 2 + SOON


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_event_loop_that_stands_still_while_the_answer_comes_is_no_time_out(
    server: Server, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def stand_still() -> object:
        ours, theirs = socket.socketpair()
        asyncio.get_running_loop().add_reader(ours, time.sleep, SECONDS * 2)
        with ours, theirs:
            async with pipeline_to(url_of(server), seconds=SECONDS) as client:
                await client.execute_command("ECHO", 0)
                answer = client.execute_command("ECHO", 1)
                # From now on until the answer is there, each turn of the loop takes longer than the time-out.
                theirs.send(b"now")
                await asyncio.wait({answer})
                asyncio.get_running_loop().remove_reader(ours)
                return answer.result()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(stand_still()) == b"1"


async def test_a_server_that_is_away_fails_all_who_wait_with_one_line_and_the_next_command_tries_again(
    tmp_path: Path,
) -> None:
    server = make_server(tmp_path)
    async with pipeline_to(f"redis://127.0.0.1:{server.port}/0") as client:
        for _ in range(2):
            found = await outcomes(*(client.execute_command("ECHO", number) for number in range(3)))
            assert [type(answer) for answer in found] == [RedisConnectionError] * 3
            assert f"127.0.0.1:{server.port}" in str(found[0])
            assert "\n" not in str(found[0])
        with running(server):
            assert await client.execute_command("ECHO", 1) == b"1"


@asynccontextmanager
async def saying(words: bytes) -> AsyncGenerator[str]:
    """The URL of a server that says the same to whatever it hears."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(words)
        writer.close()

    port = free_port()
    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield f"redis://:secret@127.0.0.1:{port}/0"


async def test_a_server_that_is_no_redis_is_an_error_of_one_line() -> None:
    async with saying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url, pipeline_to(url) as client:
        [error] = await outcomes(client.execute_command("ECHO", 1))
    assert isinstance(error, RedisError)
    assert "\n" not in str(error)


async def test_a_server_that_never_answers_a_new_connection_fails_who_waits_in_time() -> None:
    async with saying(b"") as url, pipeline_to(url, seconds=SECONDS) as client:
        found = await outcomes(*(client.execute_command("ECHO", number) for number in range(2)))
    assert [type(answer) for answer in found] == [RedisTimeoutError] * 2


@pytest.mark.parametrize("words", [b"what?\r\n", b":1\r\n:2\r\n:3\r\n:4\r\n", b"$-7\r\n"])
async def test_answers_that_nobody_can_read_or_has_asked_for_end_the_connection(
    server: Server, words: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with network_before(server) as network, pipeline_to(network.url) as client:
        await client.execute_command("ECHO", 1)
        network.say = words
        await outcomes(*(client.execute_command("ECHO", number) for number in range(3)))
        assert await outcomes(client.execute_command("ECHO", 2)) == [b"2"]
        assert network.connections == 2
    assert not caplog.records


async def is_outstanding(client: MultiplexedClient) -> "asyncio.Future[object]":
    await client.execute_command("ECHO", 1)
    return client.execute_command("BLPOP", "nothing", 20)


async def is_connecting(client: MultiplexedClient) -> "asyncio.Future[object]":
    answer = client.execute_command("ECHO", 1)
    await asyncio.sleep(0)
    return answer


async def is_about_to_connect(client: MultiplexedClient) -> "asyncio.Future[object]":
    return client.execute_command("ECHO", 1)


@pytest.mark.parametrize("ask", [is_outstanding, is_connecting, is_about_to_connect])
async def test_closing_makes_what_is_outstanding_an_error(server: Server, ask: object) -> None:
    async with pipeline_to(url_of(server)) as client:
        answer = await cast("Callable[[MultiplexedClient], asyncio.Future[asyncio.Future[object]]]", ask)(client)
        await client.aclose()
        [error] = await outcomes(answer)
        assert (type(error), str(error)) == (RedisConnectionError, "the client is closed")
        # It is a client again for whoever asks.
        assert await client.execute_command("ECHO", 2) == b"2"


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("is_tls", [False, True])
def test_a_program_that_ends_at_once_leaves_no_connection_open(
    tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop], *, is_tls: bool
) -> None:
    async def ask_and_leave(url: str) -> None:
        async with pipeline_to(url) as client:
            assert await client.execute_command("ECHO", 1) == b"1"

    def ask(url: str) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(ask_and_leave(url))
        # What is left open complains when it is swept up, and every complaint is an error here.
        gc.collect()

    if not is_tls:
        with running(make_server(tmp_path)) as server:
            ask(f"redis://127.0.0.1:{server.port}/0")
        return
    require_tls(tmp_path / "built")
    certificate = make_certificate(tmp_path)
    with running_with_tls("rediss", tmp_path, certificate) as url:
        ask(f"{url}?ssl_ca_certs={certificate.certificate}")
