"""`kiqstart workers` and `kiqstart queues`: who is there, and what waits for whom."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kiqstart.broker.fleet import QueueView, WorkerView, read_queues, read_workers
from kiqstart.broker.task_queues import queues_of_tasks
from kiqstart.cli.application import stream_broker
from kiqstart.cli.schedules.wording import shown_seconds
from kiqstart.cli.terminal import echo, shown

_WIDTH_OF_A_FILE = 120


def run_workers(*, as_json: bool) -> None:
    """Print a line for each worker."""
    workers = asyncio.run(_workers())
    if as_json:
        echo(json.dumps([asdict(one) for one in workers], indent=2))
    elif workers:
        _print(workers_table(workers))
    else:
        echo("no worker lives")


def run_queues(*, as_json: bool) -> int:
    """Print a line for each queue; gives 1 if tasks wait in one that no worker takes."""
    queues = asyncio.run(_queues())
    if as_json:
        echo(json.dumps([asdict(one) for one in queues], indent=2))
    else:
        _print(queues_table(queues))
    unserved = [one for one in queues if one.is_unserved]
    for one in unserved:
        echo(f"kiqstart: {one.waiting} tasks wait in the queue {shown(one.name)!r}, which no worker takes", err=True)
    return 1 if unserved else 0


def workers_table(workers: Sequence[WorkerView]) -> Table:
    """A row for each worker: where it is, what it has, when it beat last."""
    table = _table("worker", "host", "pid", "queues", "has", "last beat", "state")
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
                    f"{shown_seconds(one.seconds_since_beat)} ago",
                    _state(one),
                ),
            )
        )
    return table


def queues_table(queues: Sequence[QueueView]) -> Table:
    """A row for each queue: what waits, how long already, what runs, how many workers take it."""
    table = _table("queue", "waiting", "oldest", "running", "workers")
    for one in queues:
        age = "-" if one.oldest_seconds is None else shown_seconds(max(one.oldest_seconds, 0.0))
        table.add_row(*map(Text, (shown(one.name), str(one.waiting), age, str(one.running), str(one.workers))))
    return table


def _state(one: WorkerView) -> str:
    if not one.is_alive:
        return "silent"
    if one.is_ending:
        return "ending"
    return "quarantine" if one.runs_suspects else "alive"


def _table(first: str, *titles: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    # This one gives way to a narrow window, without losing a letter of a name.
    table.add_column(first, overflow="fold")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _print(table: Table) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_OF_A_FILE)
    console.print(table)


async def _workers() -> list[WorkerView]:
    async with stream_broker() as broker:
        return await read_workers(broker)


async def _queues() -> list[QueueView]:
    async with stream_broker() as broker:
        return await read_queues(broker, [*broker.queues, *queues_of_tasks(broker)])
