"""A process that runs the retention engine, or takes part in a run, until it is killed or done.

python -m tests.kiqstart.integration.retention.faults.worker '{"url": …, "run_id": …}'
"""

import asyncio
import logging
import os
import signal
import sys

from pydantic import BaseModel
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from tests.kiqstart.integration.retention.faults.engines import quick_settings, retention_engine
from tests.kiqstart.integration.retention.faults.tables import IntEntry, expired

from kiqstart.retention.policy import ScanKind

logger = logging.getLogger(__name__)


class Task(BaseModel):
    """What a process shall do. The URL is SQLAlchemy's: what a service's settings make of one takes long to import.

    It freezes (SIGSTOP) where it would send its COMMIT number `freezes_at_commit`, counted from 1.
    """

    url: str
    run_id: str
    name: str = "worker"
    joins: bool = False
    scan: ScanKind = ScanKind.KEY
    freezes_at_commit: int | None = None
    settings: dict[str, float]


def freeze_at_commit(pool: AsyncEngine, number: int) -> None:
    commits = 0

    def count(_: object) -> None:
        nonlocal commits
        commits += 1
        if commits == number:
            logger.warning("freezes")
            os.kill(os.getpid(), signal.SIGSTOP)

    event.listen(pool.sync_engine, "commit", count)


async def work(task: Task) -> None:
    pool = create_async_engine(
        task.url,
        pool_pre_ping=True,
        connect_args={"server_settings": {"application_name": task.name}},
    )
    if task.freezes_at_commit is not None:
        freeze_at_commit(pool, task.freezes_at_commit)
    retention = retention_engine(async_sessionmaker(pool), quick_settings(**task.settings))
    if task.joins:
        await retention.join(expired(scan=task.scan, cursor=(IntEntry.id,)), task.run_id)
    else:
        report = await retention.run(expired(scan=task.scan), run_id=task.run_id)
        logger.info("counts %d rows", report.deleted)
    await pool.dispose()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(work(Task.model_validate_json(sys.argv[1])))
