import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.deadlines import HANG

PUT_OFF = "import sys; from kiqstart.late_imports import put_off_admin_middleware; put_off_admin_middleware()"
IMPORTS = (
    "from taskiq.middlewares import TaskiqAdminMiddleware",
    "from taskiq.middlewares import *",
    "from taskiq.middlewares.taskiq_admin_middleware import TaskiqAdminMiddleware",
    "import taskiq.middlewares; TaskiqAdminMiddleware = taskiq.middlewares.TaskiqAdminMiddleware",
)
# Each way to import it has a process of its own, which this one forks.
ADMIN = """
import asyncio, os, sys
from kiqstart.late_imports import put_off_admin_middleware
put_off_admin_middleware()
from taskiq import InMemoryBroker

async def main():
    reached = asyncio.Event()

    async def answer(reader, writer):
        print((await reader.readline()).decode().split()[1], flush=True)
        await reader.readuntil(b"\\r\\n\\r\\n")
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
        await writer.drain()
        writer.close()
        reached.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    broker = InMemoryBroker().with_middlewares(TaskiqAdminMiddleware(f"http://127.0.0.1:{port}", "token"))

    @broker.task
    async def nothing():
        pass

    await broker.startup()
    await nothing.kiq()
    await asyncio.wait_for(reached.wait(), 100)
    await broker.shutdown()

for import_middleware in sys.argv[1:]:
    pid = os.fork()
    if pid == 0:
        exec(import_middleware)
        asyncio.run(main())
        sys.exit()
    print("code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


# Where FastAPI and OpenTelemetry are installed.
BESIDE = Path(__file__).parents[3] / ".local" / "beside"


def output_of(program: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(BESIDE)}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG,
        env=environment,
    ).stdout


def test_taskiq_is_imported_without_what_only_its_admin_middleware_needs() -> None:
    program = f"{PUT_OFF}; import taskiq; print('aiohttp' in sys.modules, taskiq.SmartRetryMiddleware.__name__)"
    assert output_of(program).split() == ["False", "SmartRetryMiddleware"]


@pytest.fixture(scope="module")
def asked_by_middlewares() -> dict[str, str]:
    """What each way to import it has printed."""
    printed = output_of(ADMIN, *IMPORTS).split("code 0\n")
    return dict(zip(IMPORTS, printed, strict=False))


@pytest.mark.parametrize("import_middleware", IMPORTS)
def test_the_admin_middleware_works_however_it_is_imported(
    asked_by_middlewares: dict[str, str], import_middleware: str
) -> None:
    assert asked_by_middlewares[import_middleware].startswith("/api/tasks/")


def test_a_name_that_the_package_does_not_have_is_an_ordinary_attribute_error() -> None:
    program = f"""
{PUT_OFF}
import taskiq.middlewares
try:
    taskiq.middlewares.Nothing
except AttributeError as error:
    print(error)
"""
    assert output_of(program).strip() == "module 'taskiq.middlewares' has no attribute 'Nothing'"


def test_a_program_that_imports_kiqstart_keeps_its_imports_as_they_are() -> None:
    program = """
import sys
before = list(sys.meta_path)
import kiqstart, kiqstart.broker, kiqstart.scheduler, kiqstart.retention, kiqstart.testing
kiqstart.App, kiqstart.broker.StreamBroker, kiqstart.testing.ProcessFactory
import taskiq
receiver = taskiq.receiver.Receiver.__module__
print(sys.meta_path == before, receiver)
"""
    assert output_of(program).split() == ["True", "taskiq.receiver.receiver"]
