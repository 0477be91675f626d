"""Real workers, and the clean-ups that are sent to them."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from re import compile as compile_pattern
from typing import Final
from uuid import uuid4

from aioinject import Object
from pydantic import BaseModel, SecretStr

from benchmarks.retention.app import POLICIES, retention_run
from benchmarks.retention.results import EngineReport, Table
from benchmarks.retention.server import Server
from kiqstart import CleanupResult
from kiqstart.broker.settings import TasksSettings
from kiqstart.redis.settings import RedisSettings
from kiqstart.retention import RetentionReport
from kiqstart.tasks.task import Task
from kiqstart.testing.processes import ProcessFactory, ServiceProcess, kiqstart_command
from todo_service.infrastructure.database.settings import DatabaseSettings
from todo_service.ioc.container import ContainerFactory

BATCH_LOG: Final = {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"}
"""The settings with which a worker logs each batch."""

FULL_PACE: Final = {"RETENTION_PACE": "full"}
"""The settings with which a clean-up does not rest."""

_BATCH: Final = compile_pattern(r"batch: rows=(\d+) seconds=([0-9.]+)")
# taskiq asks every 0.2 s by default, which would be most of a small run.
_SECONDS_BETWEEN_ASKING: Final = 0.01
_SECONDS_TO_PING: Final = 30.0
_SECONDS_TO_DELETE: Final = 4 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """A clean-up as its caller sees it: begin and end on the monotonic clock, and what the engine said about it."""

    started: float
    ended: float
    report: EngineReport | None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch that the engine logged: when it ended (monotonic clock), its rows, and its seconds."""

    ended: float
    rows: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker that has run a task before, so that its connections are open."""

    process: ServiceProcess
    _task: Task[..., CleanupResult]

    async def delete(self, table: Table) -> Deletion:
        """Have a table's policy run by `retention.run`, and wait for its result.

        Raises:
            Exception: the task failed; it is what it raised.
        """
        started = time.monotonic()
        task = await self._task.kiq(POLICIES[table])
        result = await task.wait_result(check_interval=_SECONDS_BETWEEN_ASKING, timeout=_SECONDS_TO_DELETE)
        ended, report = time.monotonic(), result.raise_for_error().return_value.report
        return Deletion(started=started, ended=ended, report=None if report is None else _report(report))

    def batches(self) -> Sequence[Batch]:
        """Return the batches that were logged, if the worker was started with `BATCH_LOG`."""
        # The log has the time of day.
        offset = time.time() - time.monotonic()
        found: list[Batch] = []
        for line in self.process.log.splitlines():
            batch = _BATCH.search(line)
            if batch is not None:
                ended = _LogLine.model_validate_json(line).timestamp.timestamp() - offset
                found.append(Batch(ended=ended, rows=int(batch[1]), seconds=float(batch[2])))
        return found


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Starts workers, one at a time, each with keys of its own in Redis."""

    server: Server
    log_folder: Path

    @asynccontextmanager
    async def start(self, database_url: str, settings: Mapping[str, str] | None = None) -> AsyncGenerator[Worker]:
        """Start a worker on a database with further environment variables, and stop it at the end."""
        prefix = f"{self.server.prefix}-{uuid4().hex[:8]}"
        start_worker = ProcessFactory(
            command=kiqstart_command("worker", "benchmarks.retention.app:broker", "--workers", "1"),
            environment={
                "DATABASE_URL": database_url,
                "REDIS_URL": self.server.redis_url,
                "TASKS_KEY_PREFIX": prefix,
                "LOG_LEVEL": "INFO",
                **(settings or {}),
            },
            ready="Listening started.",
            log_folder=self.log_folder,
        )
        container = ContainerFactory(
            overrides=[
                Object(DatabaseSettings(database_url=SecretStr(database_url)), interface=DatabaseSettings),
                Object(RedisSettings(redis_url=SecretStr(self.server.redis_url)), interface=RedisSettings),
                Object(TasksSettings(key_prefix=prefix), interface=TasksSettings),
            ]
        )()
        task = retention_run(container)
        with start_worker() as process:
            async with container.running() as registry:
                ping = await registry.ping.kiq()
                await ping.wait_result(check_interval=_SECONDS_BETWEEN_ASKING, timeout=_SECONDS_TO_PING)
                yield Worker(process=process, _task=task)


class _LogLine(BaseModel):
    timestamp: datetime


def _report(report: RetentionReport) -> EngineReport:
    return EngineReport(
        scan=report.scan,
        deleted=report.deleted,
        batches=report.batches,
        seconds=report.seconds,
        longest_batch=report.longest_batch,
    )
