"""A redis-server of a simulation's own, asked over blocking sockets."""

import gc
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import AsyncGeneratorType, TracebackType
from typing import Final, Self, cast

import hiredis
from redis._parsers import BaseParser

from kiqstart.local.redis import find_redis

Value = str | bytes | int | float
HISTORIES_BETWEEN_COLLECTIONS: Final = 50
_SECONDS: Final = 60
_PIECE: Final = 1 << 16
# Its stub allows one part.
_PACK: Final = cast("Callable[[tuple[Value, ...]], bytes]", hiredis.pack_command)
# As FLUSHALL does, which gives the memory back to the system each time as well.
_EMPTY: Final = "local keys = redis.call('KEYS', '*') return #keys > 0 and redis.call('DEL', unpack(keys))"


def packed(command: Sequence[Value]) -> bytes:
    """A command as it is written."""
    return _PACK(tuple(command))


def forget_the_killed() -> None:
    """Let go now of what killed processes had begun: Python warns that it was never awaited."""
    with warnings.catch_warnings(), last_words_unheard():
        warnings.simplefilter("ignore", RuntimeWarning)
        gc.collect()


@contextmanager
def last_words_unheard() -> Generator[None]:
    """Print nothing of what async generators say that are closed in their middle, as only killed processes' are."""
    before = sys.unraisablehook

    def hear(unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.object, AsyncGeneratorType):
            before(unraisable)

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = before


class Wire:
    """One connection, on which a command is written and its answer read."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        # Not Python's own time-out, which costs another system call for each one.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _SECONDS, 0))
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._piece = bytearray(_PIECE)
        self._reader = hiredis.Reader(replyError=cast("type[Exception]", BaseParser.parse_error))

    def write(self, *commands: Sequence[Value]) -> None:
        """Write commands; their answers are to be read."""
        self._socket.sendall(b"".join(map(packed, commands)))

    def read(self) -> object:
        """An answer; errors are returned."""
        while (answer := self._reader.gets()) is False:
            self._receive()
        return answer

    def ask(self, *command: Value) -> object:
        """Write a command and read its answer; errors are returned."""
        self._socket.sendall(_PACK(command))
        self._receive()
        return self.read()

    def _receive(self) -> None:
        size = self._socket.recv_into(self._piece)
        if not size:
            raise ConnectionError("the simulation's redis-server is gone")
        self._reader.feed(self._piece, 0, size)  # type: ignore[arg-type]  # its stub knows no other buffers

    def ask_all(self, commands: Sequence[Sequence[Value]]) -> list[object]:
        """Write commands and read their answers, all in one breath; errors are returned."""
        self.write(*commands)
        return [self.read() for _ in commands]

    def ask_both(self, command: Sequence[Value], look: bytes) -> tuple[object, object]:
        """Ask, and look at what has come of it in the same breath; the answers."""
        self._socket.sendall(packed(command) + look)
        self._receive()
        return self.read(), self.read()

    def demand_packed(self, command: bytes) -> object:
        """Write a command that is packed already, and read its answer.

        Raises:
            RedisError: it is an error.
        """
        self._socket.sendall(command)
        answer = self.read()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def demand(self, *command: Value) -> object:
        """Write a command and read its answer.

        Raises:
            RedisError: it is an error.
        """
        answer = self.ask(*command)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def demand_all(self, commands: Sequence[Sequence[Value]]) -> None:
        """Write commands and read their answers, all in one breath.

        Raises:
            RedisError: one of them is an error.
        """
        for answer in self.ask_all(commands):
            if isinstance(answer, Exception):
                raise answer

    def close(self) -> None:
        """Let it go."""
        self._socket.close()


class Server:
    """A server with nothing on disk. It ends with the `with` block."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kiq-sim-"))
        self._path = self._folder / "redis.sock"
        options = ("--port", "0", "--unixsocket", str(self._path), "--save", "", "--appendonly", "no", "--hz", "1")
        # Where it hashes, each server has an order of its own.
        order = ("--hash-max-ziplist-entries", "100000", "--hash-max-ziplist-value", "1000000")
        self._process = subprocess.Popen(
            [str(find_redis(self._folder).program), *options, *order, "--dir", str(self._folder), "--logfile", "log"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.wire: Final = self._first_wire()
        self._ears = Wire(self._path)
        self._ears.demand("PSUBSCRIBE", "*")
        self._users: dict[str, Wire] = {}
        # What was loaded; and what is known of it since the scripts were forgotten, if they were.
        self._loaded: dict[str, str] = {}
        self._known: set[str] | None = None
        # Redis 7 counts how long each command takes, also each of a script; older ones do not know of it.
        self.wire.ask("CONFIG", "SET", "latency-tracking", "no")

    def as_user(self, rights: Sequence[str]) -> Wire:
        """A connection of a user with these rights only, as `ACL SETUSER` takes them."""
        name = "u" + "-".join(rights).translate(str.maketrans("+-@~&*:{} ", "pmatsxcoos"))
        if name not in self._users:
            self.wire.demand("ACL", "SETUSER", name, "reset", "on", "nopass", *rights)
            wire = self._users[name] = Wire(self._path)
            wire.demand("AUTH", name, "x")
        return self._users[name]

    def heard(self) -> list[tuple[str, bytes]]:
        """What was published since this was asked last: channels and messages."""
        self._ears.write(("PING",))
        found: list[tuple[str, bytes]] = []
        while (answer := cast("list[bytes]", self._ears.read()))[0] != b"pong":
            found.append((answer[2].decode(), answer[3]))
        return found

    def begin(self, scripts: Mapping[str, str]) -> None:
        """Forget all data, and what a history may have set.

        Args:
            scripts: those that are known, as where others use them, by their SHA-1.
        """
        commands: list[tuple[Value, ...]] = [("CONFIG", "SET", "maxmemory", 0), ("EVAL", _EMPTY, 0)]
        if self._loaded != scripts:
            self._loaded = dict(scripts)
            commands += [("SCRIPT", "FLUSH"), *(("SCRIPT", "LOAD", script) for script in scripts.values())]
        self._known = None
        self.wire.demand_all(commands)
        self.heard()

    def forget_scripts(self) -> None:
        """`SCRIPT FLUSH`, for all that anybody sees. To load them again would take longer than many a history."""
        self._known = set()

    def knows(self, sha: str) -> bool:
        """Whether a script may be named by its SHA-1."""
        return self._known is None or sha in self._known

    def learn(self, sha: str) -> bool:
        """A script is sent as a whole, and known from now on; gives whether it may be named instead."""
        if self._known is not None:
            self._known.add(sha)
        return sha in self._loaded

    def keys(self) -> list[tuple[str, bool]]:
        """All keys, each with whether it expires."""
        names = sorted(cast("list[bytes]", self.wire.demand("KEYS", "*")))
        left = cast("list[int]", self.wire.ask_all([("PTTL", name) for name in names]))
        return [(name.decode(), one >= 0) for name, one in zip(names, left, strict=True)]

    def dump(self) -> list[tuple[bytes, int, bytes]]:
        """All data: each key with the milliseconds that it has left, or 0, and its value."""
        names = sorted(cast("list[bytes]", self.wire.demand("KEYS", "*")))
        answers = self.wire.ask_all([(verb, name) for name in names for verb in ("PTTL", "DUMP")])
        left, values = cast("list[int]", answers[::2]), cast("list[bytes]", answers[1::2])
        return [(name, max(one, 0), value) for name, one, value in zip(names, left, values, strict=True)]

    def restore(self, dump: Sequence[tuple[bytes, int, bytes]]) -> None:
        """Have exactly these data."""
        self.wire.demand_all([("FLUSHALL",), *(("RESTORE", key, left, value) for key, left, value in dump)])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        forget_the_killed()
        for wire in (self.wire, self._ears, *self._users.values()):
            wire.close()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _first_wire(self) -> Wire:
        deadline = time.monotonic() + _SECONDS
        while True:
            with suppress(OSError):
                return Wire(self._path)
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"redis-server did not start: see {self._folder}/log")
            time.sleep(0.01)
