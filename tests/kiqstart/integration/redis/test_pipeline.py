"""Commands of many callers on one connection: whose answer is whose."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from redis.exceptions import AuthenticationError, ResponseError
from tests.kiqstart.integration.redis.pipelines import connections_so_far, pipeline_to, url_of
from tests.kiqstart.integration.redis.servers import (
    ESCAPED_PASSWORD,
    PASSWORD,
    Server,
    make_server,
    running,
)

from kiqstart.redis.pipeline import MultiplexedClient

MANY = 1000


async def test_commands_of_a_thousand_callers_share_a_connection_and_each_gets_its_own_answer(server: Server) -> None:
    async def ask(client: MultiplexedClient, number: int) -> tuple[object, object]:
        first = await client.execute_command("ECHO", f"first {number}")
        return first, await client.execute_command("ECHO", number)

    before = connections_so_far(server)
    async with pipeline_to(url_of(server)) as client:
        answers = await asyncio.gather(*(ask(client, number) for number in range(MANY)))
    assert answers == [(f"first {number}".encode(), str(number).encode()) for number in range(MANY)]
    # The last look is one too.
    assert connections_so_far(server) - before == 2


async def test_commands_are_run_in_the_order_in_which_they_were_sent_also_while_it_connects(server: Server) -> None:
    async with pipeline_to(url_of(server)) as client:
        answers = [client.execute_command("DEL", "list")]
        for number in range(100):
            answers.append(client.execute_command("RPUSH", "list", number))
            if number % 7 == 0:
                # Some steps of the connecting go by.
                await asyncio.sleep(0)
        assert not answers[0].done()
        await asyncio.gather(*answers)
        found = await client.execute_command("LRANGE", "list", 0, -1)
    assert found == [str(number).encode() for number in range(100)]


async def test_small_and_large_commands_keep_their_order(server: Server) -> None:
    values = [b"x" * size for size in (10, 20_000, 10, 10, 70_000, 10)]
    async with pipeline_to(url_of(server)) as client:
        await client.execute_command("DEL", "list")
        await asyncio.gather(*(client.execute_command("RPUSH", "list", value) for value in values))
        assert await client.execute_command("LRANGE", "list", 0, -1) == values


async def test_an_error_of_the_server_is_its_callers_alone(server: Server) -> None:
    async with pipeline_to(url_of(server)) as client:
        commands = [("SET", "text", "x"), ("LPUSH", "text", "y"), ("NONSENSE",), ("GET", "text")]
        asked = [client.execute_command(*one) for one in commands]
        await asyncio.wait(asked)
    assert [asked[0].result(), asked[3].result()] == [b"OK", b"x"]
    errors = [answer.exception() for answer in asked[1:3]]
    assert [type(error) for error in errors] == [ResponseError] * 2
    assert str(errors[0]).startswith("WRONGTYPE")
    assert str(errors[1]).startswith("unknown command 'NONSENSE'")


async def test_a_command_that_cannot_be_sent_is_its_callers_alone_also_while_it_connects(server: Server) -> None:
    async with pipeline_to(url_of(server)) as client:
        for _ in range(2):
            before = client.execute_command("ECHO", 1)
            with pytest.raises(UnicodeEncodeError):
                client.execute_command("ECHO", "\ud800")
            after = client.execute_command("ECHO", 2)
            assert [await before, await after] == [b"1", b"2"]


async def test_a_caller_that_is_cancelled_shifts_nobodys_answer(server: Server) -> None:
    async def ask(client: MultiplexedClient, number: int) -> object:
        return await client.execute_command("ECHO", number)

    async with pipeline_to(url_of(server)) as client:
        # The first time while it connects, the second time on the way.
        for _ in range(2):
            callers = [asyncio.create_task(ask(client, number)) for number in range(10)]
            await asyncio.sleep(0)
            for caller in callers[::3]:
                caller.cancel()
            answers = await asyncio.gather(*callers, return_exceptions=True)
            assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [
                number % 3 == 0 for number in range(10)
            ]
            assert [answers[number] for number in (1, 2, 4, 5, 7, 8)] == [b"1", b"2", b"4", b"5", b"7", b"8"]


async def test_values_of_any_bytes_and_of_ten_megabytes_go_both_ways(server: Server) -> None:
    async with pipeline_to(url_of(server)) as client:
        values = [bytes(range(256)), b"", b"\r\n+OK\r\n", bytes(range(256)) * 40_000]
        answers = await asyncio.gather(*(client.execute_command("ECHO", value) for value in values))
        assert answers == values
        assert await client.execute_command("ECHO", "ü") == "ü".encode()


async def test_answers_of_all_kinds_arrive(server: Server) -> None:
    script = "return {1, 'a', false, {}, {ok='fine'}, {'nested', {ARGV[1], KEYS[1]}}}"
    async with pipeline_to(url_of(server)) as client:
        answer = await client.eval(script, 1, "key", 2.5)
        assert answer == [1, b"a", None, [], b"fine", [b"nested", [b"2.5", b"key"]]]
        assert await client.execute_command("GET", "nothing") is None


async def test_a_database_and_a_user_are_those_of_the_url(server: Server) -> None:
    user = "~* +@all on >other"
    async with pipeline_to(url_of(server, db=3)) as client:
        await client.execute_command("ACL", "SETUSER", "somebody", *user.split())
        await client.execute_command("SET", "where", "three")
    async with pipeline_to(f"redis://somebody:other@127.0.0.1:{server.port}/3") as client:
        assert await client.execute_command("ACL", "WHOAMI") == b"somebody"
        assert await client.execute_command("GET", "where") == b"three"
    async with pipeline_to(url_of(server)) as client:
        assert await client.execute_command("GET", "where") is None


async def test_a_wrong_password_fails_all_who_wait_and_the_next_one_asks_again(server: Server) -> None:
    async with pipeline_to(f"redis://:wrong@127.0.0.1:{server.port}/0") as client:
        for _ in range(2):
            asked = (client.execute_command("ECHO", number) for number in range(3))
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(answer) for answer in answers] == [AuthenticationError] * 3
            assert "\n" not in str(answers[0])


async def test_a_unix_socket_is_a_connection_like_others(tmp_path: Path) -> None:
    # A socket's path has no more than some hundred characters.
    with tempfile.TemporaryDirectory(prefix="kiqstart-") as folder:
        socket = f"{folder}/redis.sock"
        with running(make_server(tmp_path, "--unixsocket", socket, password=PASSWORD)):
            async with pipeline_to(f"unix://:{ESCAPED_PASSWORD}@{socket}?db=2") as client:
                answers = await asyncio.gather(*(client.execute_command("ECHO", number) for number in range(50)))
                assert answers == [str(number).encode() for number in range(50)]
                assert " db=2 " in str(await client.execute_command("CLIENT", "INFO"))
