"""`kiqstart retention`: what would the clean-ups delete?"""

import asyncio

from sqlalchemy.ext.asyncio import AsyncEngine

from kiqstart.core.retention.preview import RetentionPreview
from kiqstart.delivery.cli.terminal import echo, shown
from kiqstart.delivery.tasks.policies import RetentionPolicies
from kiqstart.delivery.tasks.rights import WORKER_RIGHTS
from kiqstart.infrastructure.database.schema import check_schema
from kiqstart.ioc.container import ContainerFactory


def run_retention() -> None:
    """Print for each policy what it would delete now, which way, and why; nothing is deleted."""
    for preview in asyncio.run(_previews()):
        number = f"about {preview.rows:,} (an estimate)" if preview.is_estimate else f"{preview.rows:,}"
        echo(f"{preview.policy}: would delete {number} of about {preview.table_rows:,} rows")
        echo(f"  along the {preview.walk.described}: {shown(preview.reason)}")


async def _previews() -> list[RetentionPreview]:
    container = ContainerFactory()()
    engine = container.resolve(AsyncEngine)
    try:
        await check_schema(engine, WORKER_RIGHTS)
        return await container.resolve(RetentionPolicies).previews()
    finally:
        await engine.dispose()
