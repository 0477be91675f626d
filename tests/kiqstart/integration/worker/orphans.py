import os
import signal
from contextlib import suppress

from tests.deadlines import HANG
from tests.kiqstart.integration.worker.sender import Sender

from kiqstart.testing import ServiceProcess, eventually


async def is_over(process: ServiceProcess) -> None:
    """Wait until a process and all that it has started have ended."""

    async def has_ended() -> bool:
        return not process.is_running

    await eventually(has_ended)


async def orphans_end_with_their_tasks(process: ServiceProcess, sender: Sender) -> None:
    """Kill the parent of workers while one of them runs a task, and look that they end once that has."""
    try:
        task = await sender.send_waiting()
        process.send_signal(signal.SIGKILL)
        process.wait()

        async def waits() -> bool:
            return "Waiting for 1 running tasks to complete" in process.log

        await eventually(waits)
        sender.go_on.touch()
        await is_over(process)
    finally:
        # The leader is gone; where the test fails, its workers are not.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert not (await task.wait_result(timeout=HANG)).is_err
