"""The commands, and two ways to send them: a pipeline of redis-py, and hiredis on a socket."""

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, cast
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import hiredis
from redis import Redis

from benchmarks.throughput.peers.protocol import QUEUE, REDIS_URL, RESULT_SECONDS

Command = tuple[str | bytes | int, ...]

# As long as what taskiq writes for a task without arguments.
_MESSAGE: Final = b"m" * 120
_RESULT: Final = b"r" * 90
_GROUP: Final = "limit"
_RECEIVED: Final = 2**16


class Loop(ABC):
    """Sends commands, many in one round trip."""

    @abstractmethod
    def execute(self, commands: Sequence[Command]) -> list[object]:
        """Send commands and return their replies."""


class RedisPy(Loop):
    """A pipeline of redis-py."""

    def __init__(self) -> None:
        self._redis = Redis.from_url(os.environ[REDIS_URL])

    def execute(self, commands: Sequence[Command]) -> list[object]:
        """Send commands and return their replies."""
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[object] = pipeline.execute()
        return replies


class Hiredis(Loop):
    """hiredis on a socket."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        url = urlsplit(os.environ[REDIS_URL])
        if url.scheme == "unix":
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(unquote(url.path))
            database = url.query.removeprefix("db=")
        else:
            self._socket = socket.create_connection((url.hostname or "localhost", url.port or 6379))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            database = url.path.strip("/")
        if url.password:
            self.execute([("AUTH", url.username or "default", url.password)])
        self.execute([("SELECT", database)])

    def execute(self, commands: Sequence[Command]) -> list[object]:
        """Send commands and return their replies."""
        packed = (
            hiredis.pack_command(command)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # its stub has one element
            for command in commands
        )
        self._socket.sendall(b"".join(packed))
        replies: list[object] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(_RECEIVED))
            elif isinstance(reply, hiredis.ReplyError):
                raise reply
            else:
                replies.append(reply)
        return replies


def make_group(loop: Loop) -> None:
    """Make the stream and its group."""
    loop.execute([("XGROUP", "CREATE", QUEUE, _GROUP, "0", "MKSTREAM")])


def send(loop: Loop, count: int, *, at_once: int) -> None:
    """Add messages, so many with each round trip."""
    while count > 0:
        loop.execute([("XADD", QUEUE, "*", "data", _MESSAGE)] * min(count, at_once))
        count -= at_once


def run(loop: Loop, count: int, *, at_once: int) -> None:
    """Take messages, store results, acknowledge and delete, so many with each round trip, until all are done."""
    take: Command = ("XREADGROUP", "GROUP", _GROUP, uuid4().hex, "COUNT", at_once, "STREAMS", QUEUE, ">")
    ending: list[Command] = []
    while count > 0:
        # What has ended goes with the next read.
        *_, taken = loop.execute([*ending, take])
        entries = _entries(taken)
        if not entries:
            return
        ending = [command for entry in entries for command in _ending(entry)]
        count -= len(entries)
    loop.execute(ending)


def _ending(entry: bytes) -> Sequence[Command]:
    result: Command = ("SET", b"result:" + uuid4().hex.encode(), _RESULT, "EX", RESULT_SECONDS)
    return (result, ("XACK", QUEUE, _GROUP, entry), ("XDEL", QUEUE, entry))


def _entries(taken: object) -> list[bytes]:
    # A list of streams with their entries, each an id and its fields; empty where there is none.
    streams = cast("list[tuple[bytes, list[tuple[bytes, object]]]]", taken or [])
    return [entry for _, entries in streams for entry, _ in entries]
