"""`kiqstart runs list` and `kiqstart runs show`."""

import asyncio
from collections.abc import Sequence

from kiqstart.broker.run_decoding import Run
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.runs import read_runs
from kiqstart.cli.application import stream_broker
from kiqstart.cli.runs.wording import as_fields, run_lines, run_page, whereabouts_line
from kiqstart.cli.terminal import echo, echo_json, shown
from kiqstart.operations.run_selection import which_runs
from kiqstart.operations.runs import NONE_KEPT, TaskHistory, read_history


def run_list(
    *,
    task: str | None,
    outcome: str | None,
    queue: str | None,
    since: str | None,
    text: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Print a line for each run, and below it what it raised.

    Raises:
        SelectionError: there is no such outcome, or no such age.
    """
    which = which_runs(task=task, outcome=outcome, queue=queue, text=text, since=since)
    runs, are_kept = asyncio.run(_list(which, limit))
    if as_json:
        echo_json([as_fields(run) for run in runs])
        return
    for run in runs:
        echo(run_lines(run))
    if not runs:
        echo("no such run is kept" if are_kept else NONE_KEPT)


def run_show(task_id: str, *, as_json: bool) -> None:
    """Print all that is kept of a task's runs, the last one first, and where it is now.

    Raises:
        UnknownRunError: there is nothing.
    """
    history = asyncio.run(_show(task_id))
    if history.problem:
        echo(f"kiqstart: where it is now is not known: {history.problem}", err=True)
    runs, now = history.runs, history.now
    if as_json:
        page = {
            "task_id": task_id,
            "now": None if now is None else as_fields(now),
            "runs": [as_fields(run) for run in runs],
        }
        echo_json(page)
        return
    echo(f"task {shown(task_id)}")
    if now is not None:
        echo(f"{'now':10}  {whereabouts_line(now)}")
    for run in runs:
        echo(f"\n{run_page(run)}")


async def _list(which: RunFilter, limit: int) -> tuple[Sequence[Run], bool]:
    async with stream_broker() as broker:
        redis, secrets = broker.connection.redis, broker.secrets
        return await read_runs(redis, broker.keys, which, limit=limit, secrets=secrets), broker.options.runs_kept > 0


async def _show(task_id: str) -> TaskHistory:
    async with stream_broker() as broker:
        return await read_history(broker, task_id)
