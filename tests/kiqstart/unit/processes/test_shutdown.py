"""Real signals, to processes of their own."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, cast

import pytest
from tests.deadlines import HANG

from kiqstart.testing import eventually

# The loop has nothing to do but wait: a flag that a handler merely sets would not wake it.
PROGRAM = """
import asyncio, signal, sys
import {loop_module}
from kiqstart.processes.shutdown import ShutdownSignal

{earlier}

async def main():
    shutdown = ShutdownSignal()
    shutdown.listen()
    print("listening", flush=True)
    await shutdown.event.wait()
    print("noticed", flush=True)

with asyncio.Runner(loop_factory={loop_module}.new_event_loop) as runner:
    runner.run(main())
"""
HANDLER = """
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda signum, frame: print("earlier handler:", signum, flush=True))
"""


async def is_asleep(pid: int) -> bool:
    """Whether the process waits for something to happen."""
    return state(pid).startswith("S")


def state(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        return stat.read_text().rpartition(") ")[2]
    ps = ["ps", "-o", "state=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True, check=True).stdout


@contextmanager
def listening(loop_module: str, earlier: str) -> Generator[subprocess.Popen[str]]:
    program = PROGRAM.format(loop_module=loop_module, earlier=earlier)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            output = cast("IO[str]", process.stdout)
            assert output.readline() == "listening\n"
            asyncio.run(eventually(partial(is_asleep, process.pid), within=HANG))
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("loop_module", ["asyncio", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_loop_notices_a_signal_at_once_and_the_earlier_handler_still_runs(
    number: signal.Signals, loop_module: str
) -> None:
    with listening(loop_module, HANDLER) as process:
        process.send_signal(number)
        output, _ = process.communicate(timeout=HANG)
    assert output.splitlines() == [f"earlier handler: {number.value}", "noticed"]
    assert process.returncode == 0


@pytest.mark.parametrize("earlier", ["signal.SIG_IGN", "signal.SIG_DFL"])
def test_a_signal_that_nobody_has_handled_is_noticed_too(earlier: str) -> None:
    with listening("asyncio", f"signal.signal(signal.SIGTERM, {earlier})") as process:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=HANG)
    assert output == "noticed\n"
    assert process.returncode == 0
