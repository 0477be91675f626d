"""`kiqstart runs show`."""

import asyncio

from kiqstart.cli.acts import act_as_json, acts_table
from kiqstart.cli.application import stream_broker
from kiqstart.cli.runs.wording import as_fields, run_page, whereabouts_page
from kiqstart.cli.tables import print_table
from kiqstart.cli.terminal import echo, echo_json, shown
from kiqstart.operations.runs import TaskHistory, read_history_with_acts


def run_show(task_id: str, *, as_json: bool) -> None:
    """Print all that is kept of a task's runs, the last one first, where it is now, and what operators did with it.

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
            "acts": [act_as_json(one) for one in history.acts],
        }
        echo_json(page)
        return
    echo(f"task {shown(task_id)}")
    if now is not None:
        echo(whereabouts_page(now))
    elif not runs:
        echo("no run of it is kept, and it waits nowhere")
    if history.acts:
        echo("")
        print_table(acts_table(history.acts))
    for run in runs:
        echo(f"\n{run_page(run)}")


async def _show(task_id: str) -> TaskHistory:
    async with stream_broker() as broker:
        return await read_history_with_acts(broker, task_id)
