"""Saying how far a task is while one waits for it."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

from redis.exceptions import RedisError

from kiqstart.broker.broker import StreamBroker
from kiqstart.cli.terminal import echo, shown
from kiqstart.operations.progress import running_task, said_of_progress

_SECONDS_BETWEEN_LOOKS: Final = 0.5
_WIDTH: Final = 79


@asynccontextmanager
async def saying_progress(broker: StreamBroker, task_id: str) -> AsyncGenerator[None]:
    """Within the block, say on standard error how far a task is: in one line of a terminal, else a line for each."""
    line = _Line()
    watching = asyncio.create_task(_watch(broker, task_id, line))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        line.clear()


async def _watch(broker: StreamBroker, task_id: str, line: "_Line") -> None:
    while True:
        # Whoever waits for the result notices that Redis is away.
        with suppress(RedisError, OSError):
            task = await running_task(broker, task_id)
            if task is not None and task.progress is not None:
                line.write(shown(said_of_progress(task.progress)))
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


class _Line:
    def __init__(self) -> None:
        self._said = ""
        self._is_terminal = sys.stderr.isatty()

    def write(self, text: str) -> None:
        if text == self._said:
            return
        if self._is_terminal:
            self.clear()
            sys.stderr.write(text[:_WIDTH])
            sys.stderr.flush()
        else:
            echo(text, err=True)
        self._said = text

    def clear(self) -> None:
        if self._is_terminal and self._said:
            sys.stderr.write("\r" + " " * min(len(self._said), _WIDTH) + "\r")
            sys.stderr.flush()
