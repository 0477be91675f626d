"""The tasks of the suite. The first argument of each is the id that it records itself under, and its task's id."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from typing import Any, Final, cast

from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask, Context, TaskiqDepends
from tests.faults.recorder import Mark, Recorder

FLAKY: Final = "flaky"
# Any, since the type checkers do not agree on what an async function returns, and nobody here reads it.
_Task = AsyncTaskiqDecoratedTask[[str, float], Any]
_Counting = AsyncTaskiqDecoratedTask[[str, int], Any]


class FlakyError(Exception):
    """A task fails as it was told to. Its argument names the run."""


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """Each gives the token of the run that it was."""

    nap: _Task
    """Waits so many seconds."""
    spin: _Task
    """Computes so many seconds, and blocks the event loop with it."""
    sit: _Task
    """Blocks a thread for so many seconds."""
    deadly: _Task
    """Kills its process after so many seconds."""
    parent: _Counting
    """Sends so many naps of no length."""
    flaky: _Counting
    """Fails so many times (at most 3), and is tried again each time."""

    @classmethod
    def register(cls, broker: AsyncBroker, recorder: Recorder) -> "Tasks":
        """Register the tasks on a broker; they record themselves with the recorder."""
        nap = _register_nap(broker, recorder)
        return cls(
            nap=nap,
            spin=_register_spin(broker, recorder),
            sit=_register_sit(broker, recorder),
            deadly=_register_deadly(broker, recorder),
            parent=_register_parent(broker, recorder, nap),
            flaky=_register_flaky(broker, recorder),
        )


def _register_nap(broker: AsyncBroker, recorder: Recorder) -> _Task:
    async def nap(name: str, seconds: float) -> str:
        with recorder.run(name) as running:
            await asyncio.sleep(seconds)
        return running.token

    return broker.register_task(nap, task_name="nap")


def _register_spin(broker: AsyncBroker, recorder: Recorder) -> _Task:
    async def spin(name: str, seconds: float) -> str:
        with recorder.run(name) as running:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                sum(range(1000))
        return running.token

    return broker.register_task(spin, task_name="spin")


def _register_sit(broker: AsyncBroker, recorder: Recorder) -> _Task:
    def sit(name: str, seconds: float) -> str:
        with recorder.run(name) as running:
            time.sleep(seconds)
        return running.token

    return broker.register_task(sit, task_name="sit")


def _register_deadly(broker: AsyncBroker, recorder: Recorder) -> _Task:
    async def deadly(name: str, seconds: float) -> str:
        with recorder.run(name) as running:
            await asyncio.sleep(seconds)
            recorder.write(Mark.DEADLY, name)
            os.kill(os.getpid(), signal.SIGKILL)
        return running.token

    return broker.register_task(deadly, task_name="deadly")


def _register_parent(broker: AsyncBroker, recorder: Recorder, nap: _Task) -> _Counting:
    async def parent(name: str, children: int) -> str:
        with recorder.run(name) as running:
            for number in range(children):
                child = f"{name}.{number}"
                recorder.write(Mark.SENDING, child)
                await nap.kiq(child, 0.0)
                recorder.write(Mark.SENT, child)
        return running.token

    return broker.register_task(parent, task_name="parent")


def _register_flaky(broker: AsyncBroker, recorder: Recorder) -> _Counting:
    async def flaky(name: str, failures: int, context: Context = TaskiqDepends()) -> str:
        tried = int(context.message.labels.get("_retries", 0))
        with recorder.run(name, tried=tried) as running:
            if tried < failures:
                running.how, running.is_tried_again = "error", True
        if tried < failures:
            raise FlakyError(running.token)
        return running.token

    retries = {"retry_on_error": True, "max_retries": 4, "delay": 0.5, "types_of_exceptions": (FlakyError,)}
    # Callers do not see the argument that taskiq injects.
    return cast("_Counting", broker.register_task(flaky, task_name=FLAKY, **retries))
