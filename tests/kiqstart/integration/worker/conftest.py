from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.fork_server.client import ForkingFactory
from tests.kiqstart.integration.worker.sender import Sender

from kiqstart.testing import ProcessFactory
from kiqstart.testing.processes import kiqstart_command


@pytest.fixture
def worker_environment(redis_url: str, key_prefix: str) -> dict[str, str]:
    return {"REDIS_URL": redis_url, "QUEUE_NAME": f"{{{key_prefix}}}:tasks"}


@pytest.fixture
def command() -> list[str]:
    return kiqstart_command("worker", "tests.kiqstart.integration.worker.app:broker")


@pytest.fixture
def worker(command: list[str], worker_environment: dict[str, str], tmp_path: Path) -> ProcessFactory:
    return ForkingFactory(
        command=command, environment=worker_environment, ready="Listening started.", log_folder=tmp_path
    )


@pytest_asyncio.fixture
async def sender(worker_environment: dict[str, str], tmp_path: Path) -> AsyncGenerator[Sender]:
    made = Sender(worker_environment["REDIS_URL"], worker_environment["QUEUE_NAME"], tmp_path / "go-on")
    yield made
    await made.broker.shutdown()
