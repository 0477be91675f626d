"""`kiqstart runs list`."""

import asyncio
from collections.abc import Sequence

from kiqstart.broker.outstanding import MOST_LOOKED_AT, Outstanding, read_outstanding
from kiqstart.broker.run_decoding import Run
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.runs import read_runs
from kiqstart.broker.whereabouts import Place
from kiqstart.cli.application import stream_broker
from kiqstart.cli.runs.wording import as_fields, outstanding_lines, outstanding_titles, run_lines, run_titles
from kiqstart.cli.terminal import echo, echo_json
from kiqstart.operations.outstanding import said_of_rest
from kiqstart.operations.run_selection import by_parameters
from kiqstart.operations.runs import NONE_KEPT


def run_list(which: RunFilter, *, limit: int, as_json: bool) -> None:
    """Print a line for each run, and below it what it raised."""
    # One more says whether there are more.
    found, are_kept = asyncio.run(_list(which, limit + 1))
    runs = found[:limit]
    if as_json:
        echo_json([as_fields(run) for run in runs])
        return
    if runs:
        echo(run_titles())
    for run in runs:
        echo(run_lines(run))
    if len(found) > limit:
        echo(f"the newest {limit}, and there are more: --limit says how many")
    if not runs:
        echo("no such run is kept" if are_kept else NONE_KEPT)


def run_list_outstanding(place: Place, which: RunFilter, *, limit: int, most: int | None, as_json: bool) -> None:
    """Print some lines for each task that has not ended, of `most` that are looked at, or as many as is usual."""
    found = asyncio.run(_list_outstanding(place, which, limit, most or MOST_LOOKED_AT))
    if as_json:
        tasks = [as_fields(one) for one in found.tasks]
        echo_json({"tasks": tasks, "looked_at": found.looked_at, "not_looked_at": found.not_looked_at})
        return
    if found.tasks:
        echo(outstanding_titles(place))
    for one in found.tasks:
        echo(outstanding_lines(one))
    if not found.tasks:
        echo(f"no such task is {place}")
    if rest := said_of_rest(place, found):
        # As many as were asked for were found, or not.
        option = "--limit" if len(found.tasks) == limit else "--look-at"
        echo(f"{rest}: {option} says how many")


async def _list(which: RunFilter, limit: int) -> tuple[Sequence[Run], bool]:
    async with stream_broker() as broker:
        redis, secrets, which = broker.connection.redis, broker.secrets, by_parameters(which, broker)
        return await read_runs(redis, broker.keys, which, limit=limit, secrets=secrets), broker.options.runs_kept > 0


async def _list_outstanding(place: Place, which: RunFilter, limit: int, most: int) -> Outstanding:
    async with stream_broker() as broker:
        return await read_outstanding(broker, place, by_parameters(which, broker), limit=limit, most=most)
