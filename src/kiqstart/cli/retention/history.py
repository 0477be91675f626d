"""`kiqstart retention history`: what became of the clean-ups' runs."""

import asyncio
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from kiqstart.cli.retention.reading import checked_retention
from kiqstart.cli.tables import new_table, print_table
from kiqstart.cli.terminal import echo, echo_json, shown
from kiqstart.operations.retention import state_of_run
from kiqstart.operations.schedule_wording import shown_seconds
from kiqstart.retention.history import PastRun


def run_history(policy: str | None, *, limit: int, as_json: bool) -> None:
    """Print the newest runs, newest first.

    Raises:
        NotReadError: PostgreSQL is away, or the engine's tables are not there.
    """
    runs = asyncio.run(_read(policy, limit))
    if as_json:
        echo_json([run_as_json(one) for one in runs])
    elif runs:
        print_table(history_table(runs))
    else:
        echo("no run is known")


def history_table(runs: Sequence[PastRun]) -> Table:
    """A row for each run, below its policy its id."""
    table = new_table("policy", "began (UTC)", "took", "rows", "batches", "failed", "state")
    for one in runs:
        cells = (
            f"{shown(one.policy)}\n  {shown(one.run_id)}",
            "-" if one.started_at is None else f"{one.started_at:%m-%d %H:%M:%S}",
            shown_seconds(one.seconds),
            f"{one.deleted:,}",
            str(one.batches),
            str(one.failed),
            state_of_run(one),
        )
        table.add_row(*map(Text, cells))
    return table


def run_as_json(one: PastRun) -> dict[str, object]:
    """A run as `--json` has it."""
    return {
        "policy": one.policy,
        "run_id": one.run_id,
        "started": None if one.started_at is None else one.started_at.isoformat(),
        "seconds": one.seconds,
        "shards": one.shards,
        "rows": one.deleted,
        "batches": one.batches,
        "longest_batch": one.longest_batch,
        "failed": one.failed,
        "state": state_of_run(one),
    }


async def _read(policy: str | None, limit: int) -> list[PastRun]:
    async with checked_retention("what became of runs") as app:
        return await app.needs_retention().engine.history(policy, limit=limit)
