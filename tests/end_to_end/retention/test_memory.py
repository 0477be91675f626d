import re
import sys
from pathlib import Path

import pytest
from tests.deadlines import HANG
from tests.end_to_end.retention.rows import Rows
from tests.fork_server.client import start_anew

from kiqstart.testing import ProcessFactory
from todo_service.delivery.tasks.registry import TasksRegistry

COMPLETED = 300_000
KIB_OF_20_MIB = 20 * 1024


def memory(pid: int, name: str) -> int:
    """A process' resident memory in KiB: `VmRSS` at present, `VmHWM` at its highest."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of another process is read from Linux' /proc")
async def test_a_workers_memory_does_not_grow_with_the_rows(
    registry: TasksRegistry, worker: ProcessFactory, rows: Rows
) -> None:
    await rows.add(completed=COMPLETED)
    with start_anew(worker)() as process:
        before = memory(process.pid, "VmRSS")
        task = await registry.todo_cleanup.kiq()
        assert (await task.wait_result(timeout=HANG)).return_value["todos_deleted"] == COMPLETED
        assert memory(process.pid, "VmHWM") - before < KIB_OF_20_MIB
