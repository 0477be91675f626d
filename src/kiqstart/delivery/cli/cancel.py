"""`kiqstart cancel`: let tasks not run, or run no longer."""

import asyncio
from collections.abc import Sequence

import typer

from kiqstart.delivery.cli.broker import stream_broker


def run_cancel(task_ids: Sequence[str]) -> int:
    """Cancel tasks; those that have ended are named on standard error, and let the exit code be 1."""
    return asyncio.run(_cancel(task_ids))


async def _cancel(task_ids: Sequence[str]) -> int:
    ended = 0
    async with stream_broker() as broker:
        for task_id in dict.fromkeys(task_ids):
            if await broker.result_backend.is_result_ready(task_id):
                typer.echo(f"kiqstart: task {task_id!r} has ended", err=True)
                ended += 1
            else:
                await broker.cancel(task_id)
                typer.echo(f"{task_id!r} is cancelled, if it waits or runs")
    return 1 if ended else 0
