"""A third policy and its task, added to a copy of the source."""

import re
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from taskiq.kicker import AsyncKicker
from tests.deadlines import HANG

from kiqstart import CleanupResult
from kiqstart.testing import ProcessFactory
from todo_service.delivery.tasks.registry import TasksRegistry

ROOT = Path(__file__).parents[3]

NEW_FILES = {
    "core/token/__init__.py": '"""Access tokens."""\n',
    "core/token/models.py": """
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from kiqstart.retention.policy import RetentionPolicy, ScanKind
from todo_service.infrastructure.database.base import Base


class AccessToken(Base):
    __tablename__ = "access_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    expires_at: Mapped[datetime]


def expired_tokens(cutoff: datetime) -> RetentionPolicy:
    return RetentionPolicy(
        name="expired_tokens",
        model=AccessToken,
        predicate=AccessToken.expires_at < cutoff,
        cursor=(AccessToken.expires_at,),
        scan=ScanKind.KEY,
    )
""",
    "delivery/tasks/controllers/token_cleanup.py": """
from dataclasses import dataclass
from datetime import UTC, datetime

from taskiq import AsyncBroker, Context, TaskiqDepends
from taskiq.depends.progress_tracker import ProgressTracker

from todo_service.core.token.models import expired_tokens
from todo_service.delivery.tasks.names import TaskName
from kiqstart import CleanupProgress, CleanupResult, CleanupRunner, Controller, register_task


@dataclass(frozen=True, kw_only=True)
class TokenCleanupTaskController(Controller):
    _cleanups: CleanupRunner

    def register(self, registry: AsyncBroker) -> None:
        register_task(registry, self.cleanup, name=TaskName.TOKEN_CLEANUP)

    async def cleanup(
        self, context: Context = TaskiqDepends(), progress: ProgressTracker[CleanupProgress] = TaskiqDepends()
    ) -> CleanupResult:
        return await self._cleanups.run(expired_tokens(datetime.now(UTC)), context, progress)
""",
}
# Each below the line that it resembles.
NEW_LINES = [
    ("delivery/tasks/names.py", r"    TODO_CLEANUP = .*\n", '    TOKEN_CLEANUP = "token.cleanup"\n'),
    (
        "delivery/tasks/registry.py",
        r"    todo_cleanup = .*\n",
        "    token_cleanup = TaskReference(TaskName.TOKEN_CLEANUP, TokenCleanupTaskController.cleanup)\n",
    ),
    (
        "delivery/tasks/registry.py",
        r"from .*import TodoCleanupTaskController\n",
        "from todo_service.delivery.tasks.controllers.token_cleanup import TokenCleanupTaskController\n",
    ),
    (
        "ioc/container.py",
        r"        Singleton\(TodoCleanupTaskController.*\n",
        "        Singleton(TokenCleanupTaskController, interface=Controller),\n",
    ),
    (
        "ioc/container.py",
        r"from .*import TodoCleanupTaskController\n",
        "from todo_service.delivery.tasks.controllers.token_cleanup import TokenCleanupTaskController\n",
    ),
    (
        "delivery/tasks/policies.py",
        r"            todos\.completed_policy\(\),\n",
        "            expired_tokens(datetime.now(UTC)),\n",
    ),
    (
        "delivery/tasks/policies.py",
        r"from .*import TodoRepository\n",
        "from todo_service.core.token.models import expired_tokens\n",
    ),
]


@pytest.fixture
def extended(tmp_path: Path, database_url: str) -> dict[str, str]:
    """The environment in which the source has a third policy, which insists on its index, and the role all rights."""
    for folder in ("src", "migrations"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    package = tmp_path / "src" / "todo_service"
    for file, code in NEW_FILES.items():
        (package / file).parent.mkdir(exist_ok=True)
        (package / file).write_text(code)
    for file, neighbour, line in NEW_LINES:
        source, times = re.subn(f"({neighbour})", rf"\g<1>{line}", (package / file).read_text())
        assert times == 1, file
        (package / file).write_text(source)
    return {"PYTHONPATH": str(tmp_path / "src"), "DATABASE_URL": database_url}


@pytest_asyncio.fixture
async def tokens(engine: AsyncEngine) -> AsyncGenerator[AsyncEngine]:
    """A table of 3,000 tokens, every third of which lives; it has no index but its key's."""
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "CREATE TABLE access_tokens "
                "(id uuid PRIMARY KEY DEFAULT gen_random_uuid(), expires_at timestamptz NOT NULL)"
            )
        )
        await connection.execute(
            text(
                "INSERT INTO access_tokens (expires_at) SELECT now() + CASE WHEN n % 3 = 0 THEN interval '1 day' "
                "ELSE - interval '1 day' END FROM generate_series(1, 3000) AS n"
            )
        )
    yield engine
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE access_tokens"))


async def test_a_policy_without_its_index_stops_the_worker_which_prints_the_index_to_create(
    registry: TasksRegistry, worker: ProcessFactory, extended: dict[str, str], tokens: AsyncEngine
) -> None:
    with worker(environment=extended, wait=False) as process:
        assert process.wait() != 0
    [complaint] = [line for line in process.log.splitlines() if line.startswith("kiqstart: ")]
    assert complaint.startswith("kiqstart: retention policy 'expired_tokens': no index leads to its rows")
    assert "Traceback" not in process.log
    advice = re.search(r"`(CREATE INDEX CONCURRENTLY .*?)`", complaint)
    assert advice is not None
    # Told and done.
    async with tokens.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text(advice[1]))
    with worker(environment=extended) as process:
        assert "expired_tokens: would go along the index on its cursor: the policy asks for it" in process.log
        kicker: AsyncKicker[[], CleanupResult] = AsyncKicker(
            "token.cleanup", registry.broker, {}, return_type=CleanupResult
        )
        report = (await (await kicker.kiq()).wait_result(timeout=HANG)).return_value.report
    assert report is not None
    assert (report.policy, report.scan, report.deleted) == ("expired_tokens", "key", 2_000)
    async with tokens.connect() as connection:
        left = await connection.execute(text("SELECT count(*), min(expires_at) > now() FROM access_tokens"))
        assert tuple(left.one()) == (1_000, True)
