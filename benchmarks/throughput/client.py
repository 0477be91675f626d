"""Programs that send a contestant's tasks."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from pydantic import TypeAdapter

from benchmarks.throughput.contestants import Installed
from benchmarks.throughput.peers.protocol import Answer, Description, Request, Way

_ANSWER: Final = TypeAdapter(Answer)
_SECONDS_TO_END: Final = 10.0
_LAST_LINES: Final = 5


class PeerError(Exception):
    """A contestant's program is not installed, failed, or took too long."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """A program that sends, and is told step by step what to do."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    most_seconds: float

    async def describe(self) -> Description:
        """How the contestant is set up, and its versions."""
        description = (await self._ask(Request(step="describe"))).description
        if description is None:
            raise PeerError(f"{self.name}: the program does not describe itself")
        return description

    async def prepare(self, task: str, size: int) -> None:
        """Send another task from now on, with an argument of `size` characters."""
        await self._ask(Request(step="prepare", task=task, size=size))

    async def send(self, way: Way, count: int) -> float:
        """Send tasks, and return the seconds that it took."""
        return (await self._ask(Request(step="send", way=way, count=count))).seconds

    async def run(self, count: int) -> tuple[float, float]:
        """Run tasks in that program: the seconds that it took, and those of the processor."""
        answer = await self._ask(Request(step="run", count=count))
        return answer.seconds, answer.cpu

    async def round_trips(self, count: int, *, seconds: float, interval: float | None = None) -> Answer:
        """Send tasks and wait for the result of each: the seconds that each took, and what was missed.

        Raises:
            PeerError: no result came at all.
        """
        answer = await self._ask(Request(step="round_trips", count=count, seconds=seconds, interval=interval))
        if len(answer.trips) < 2:  # noqa: PLR2004 - percentiles need as many
            raise PeerError(f"hardly a caller got a result: {', '.join(sorted(set(answer.missed)))}")
        return answer

    async def _ask(self, request: Request) -> Answer:
        if self.process.stdin is None or self.process.stdout is None:
            raise PeerError(f"{self.name}: the program has no standard input or output")
        try:
            async with asyncio.timeout(self.most_seconds):
                self.process.stdin.write(json.dumps(asdict(request)).encode() + b"\n")
                await self.process.stdin.drain()
                line = await self.process.stdout.readline()
        except TimeoutError:
            raise PeerError(f"{self.name}: {request.step} took more than {self.most_seconds:.0f} s") from None
        except ConnectionError:
            line = b""
        if not line:
            raise PeerError(f"{self.name}: the program ended: {_last_lines(self.log)}")
        answer = _ANSWER.validate_json(line)
        if answer.error is not None:
            raise PeerError(f"{self.name}: {request.step}: {answer.error}")
        return answer


@asynccontextmanager
async def open_client(
    contestant: Installed, environment: Mapping[str, str], log_folder: Path, *, most_seconds: float
) -> AsyncGenerator[Client]:
    """Start a contestant's program, and end it at the end.

    Raises:
        PeerError: it is not installed.
    """
    if not contestant.interpreter.exists():
        how = "start the benchmark with `make benchmark-throughput`"
        if contestant.checkout is not None:
            how = f"run `make install` in {contestant.checkout}"
        raise PeerError(f"{contestant.name} is not installed: {how}")
    log = log_folder / f"{contestant.peer}-{uuid4().hex}.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(contestant.interpreter, "-m", f"benchmarks.throughput.peers.{contestant.peer}"),
            cwd=contestant.folder,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=2**24,
        )
    try:
        yield Client(name=contestant.name, process=process, log=log, most_seconds=most_seconds)
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_SECONDS_TO_END):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " / ".join(lines[-_LAST_LINES:]) or "it said nothing"
