"""`kiqstart workers` and `kiqstart queues`: who is there, and what waits for whom."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from kiqstart.broker.fleet import QueueView, WorkerView, read_queues, read_workers
from kiqstart.broker.known_queues import queues_of_tasks
from kiqstart.broker.lost_workers import LostWorker, read_lost_workers
from kiqstart.broker.running import RunningTask
from kiqstart.cli.application import stream_broker
from kiqstart.cli.local_times import shown_moment, zone_name, zoned
from kiqstart.cli.pausing import pause_as_json
from kiqstart.cli.tables import new_table, print_table
from kiqstart.cli.terminal import echo, echo_json, shown
from kiqstart.operations.fleet import said_of_state, state_of_queue
from kiqstart.operations.numbers import counted
from kiqstart.operations.pausing import said
from kiqstart.operations.progress import said_of_progress
from kiqstart.operations.schedule_wording import shown_seconds

# Of what runs, those are shown that run longest.
_MOST_RUNNING: Final = 50
_RECENTLY: Final = 24 * 3600


def run_workers(*, as_json: bool) -> None:
    """Print a line for each worker."""
    workers, lost = asyncio.run(_workers())
    if as_json:
        echo_json([worker_as_json(one) for one in workers])
        return
    if workers:
        print_table(workers_table(workers))
        _print_running(running_lines(workers))
    else:
        echo("no worker lives")
    if lost:
        last = shown_moment(lost[0].lost)
        echo(f"{len(lost)} died in the last 24 hours, the last one at {last} {zone_name()}: kiqstart workers --lost")


def run_lost_workers(*, as_json: bool) -> None:
    """Print each worker that died, the last one first, and what it ran."""
    lost = asyncio.run(_lost_workers())
    if as_json:
        echo_json([_lost_as_json(one) for one in lost])
        return
    if lost:
        echo(f"{zoned('died'):14}  worker")
    for one in lost:
        echo(f"{shown_moment(one.lost)}  {shown(one.name)}")
        beat = shown_moment(one.last_beat)
        echo(f"    on {shown(one.host) or '-'}, process {one.pid or '-'}; its last beat was at {beat}")
        for task in one.running:
            echo(f"    ran {shown(task.task)} since {shown_moment(task.began)}  {shown(task.task_id)}")
    if not lost:
        echo("no worker is known to have died in the last seven days")


def run_queues(*, as_json: bool) -> int:
    """Print a line for each queue; gives 1 if tasks wait in one that no worker takes."""
    queues = asyncio.run(_queues())
    if as_json:
        echo_json([{**asdict(one), "paused": pause_as_json(one.paused)} for one in queues])
    else:
        print_table(queues_table(queues))
        for one in queues:
            if one.paused is not None:
                echo(shown(said(one.paused)))
    unserved = [one for one in queues if one.is_unserved]
    for one in unserved:
        wait = f"{counted(one.waiting, 'task')} wait{'s' if one.waiting == 1 else ''}"
        echo(f"kiqstart: {wait} in the queue {shown(one.name)!r}, which no worker takes", err=True)
    return 1 if unserved else 0


def workers_table(workers: Sequence[WorkerView]) -> Table:
    """A row for each worker: where it is, what it has, how long its event loop lets others wait, when it beat last."""
    table = _table("worker", "host", "pid", "queues", "has", "slots", "lag", "beat", "state")
    for one in workers:
        table.add_row(
            *map(
                Text,
                (
                    shown(one.name),
                    shown(one.host) or "-",
                    str(one.pid or "-"),
                    shown(", ".join(one.queues)) or "-",
                    str(one.in_flight),
                    str(one.slots or "-"),
                    "-" if one.loop_lag is None else shown_seconds(one.loop_lag),
                    f"{shown_seconds(one.seconds_since_beat)} ago",
                    said_of_state(one),
                ),
            )
        )
    return table


def worker_as_json(one: WorkerView) -> dict[str, object]:
    """A worker as `--json` has it."""
    return {**asdict(one), "running": [running_as_json(task) for task in one.running]}


def running_as_json(task: RunningTask) -> dict[str, object]:
    """A task that runs as `--json` has it."""
    return {
        "task": task.task,
        "task_id": task.task_id,
        "began": task.began.isoformat(),
        "progress": None if task.progress is None else asdict(task.progress),
        "is_blocking": task.is_blocking,
    }


def running_line(task: RunningTask) -> str:
    """What runs, for how long, and how far it is: `mail.send for 12.0 s, 40 %, 400 of 1,000 rows`."""
    lasts = shown_seconds(max((datetime.now(UTC) - task.began).total_seconds(), 0.0))
    line = f"{shown(task.task)} for {lasts}{', blocks the event loop' if task.is_blocking else ''}"
    return line if task.progress is None else f"{line}, {shown(said_of_progress(task.progress))}"


def running_lines(workers: Sequence[WorkerView]) -> list[str]:
    """What runs, the longest first, each with its task's id and where."""
    tasks = [(task, one) for one in workers for task in one.running]
    return [
        f"{running_line(task)}  {shown(task.task_id)} on {shown(worker.host or worker.name)}"
        for task, worker in sorted(tasks, key=lambda pair: pair[0].began)
    ]


def queues_table(queues: Sequence[QueueView]) -> Table:
    """A row for each queue: what waits, how long already, what runs, how many workers take it."""
    table = _table("queue", "waiting", "oldest", "running", "workers", "state")
    for one in queues:
        age = "-" if one.oldest_seconds is None else shown_seconds(max(one.oldest_seconds, 0.0))
        state = state_of_queue(is_paused=one.paused is not None, waiting=one.waiting, workers=one.workers)
        table.add_row(*map(Text, (shown(one.name), str(one.waiting), age, str(one.running), str(one.workers), state)))
    return table


def _print_running(lines: Sequence[str]) -> None:
    if lines:
        echo("\nruns now")
    for line in lines[:_MOST_RUNNING]:
        echo(line)
    if len(lines) > _MOST_RUNNING:
        echo(f"and {len(lines) - _MOST_RUNNING} more (--json has them)")


def _table(first: str, *titles: str) -> Table:
    table = new_table()
    # This one gives way to a narrow window, without losing a letter of a name.
    table.add_column(first, overflow="fold")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _lost_as_json(one: LostWorker) -> dict[str, object]:
    times = {"last_beat": one.last_beat.isoformat(), "lost": one.lost.isoformat()}
    return {**asdict(one), **times, "running": [running_as_json(task) for task in one.running]}


async def _workers() -> tuple[list[WorkerView], list[LostWorker]]:
    async with stream_broker() as broker:
        return await read_workers(broker), await read_lost_workers(broker, seconds=_RECENTLY)


async def _lost_workers() -> list[LostWorker]:
    async with stream_broker() as broker:
        return await read_lost_workers(broker)


async def _queues() -> list[QueueView]:
    async with stream_broker() as broker:
        return await read_queues(broker, [*broker.queues, *queues_of_tasks(broker)])
