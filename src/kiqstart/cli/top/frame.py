"""What one frame of `kiqstart top` shows, in words and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kiqstart.broker.fleet import WorkerView
from kiqstart.cli.fleet import running_as_json, running_line, running_lines
from kiqstart.cli.tables import new_table
from kiqstart.cli.task_rates import rate_as_json, rates_table, shown_rate
from kiqstart.cli.terminal import shown
from kiqstart.operations.fleet import said_of_state, state_of, state_of_queue
from kiqstart.operations.pulse import Pulse, QueuePulse
from kiqstart.operations.rates import QueueRate, TaskRate
from kiqstart.operations.schedule_wording import shown_seconds


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What is shown.

    Args:
        seconds: of how long the tasks' figures are.
        rates: of the queues, in their order.
    """

    pulse: Pulse
    seconds: float
    rates: Sequence[QueueRate]
    tasks: Sequence[TaskRate]

    def as_json(self) -> dict[str, object]:
        """As `--json` has it."""
        return {
            "at": self.pulse.at.isoformat(),
            "seconds": self.seconds,
            "delayed": self.pulse.delayed,
            "dead_letters": self.pulse.dead_letters,
            "queues": [_queue(one, rate) for one, rate in zip(self.pulse.queues, self.rates, strict=True)],
            "workers": [
                {
                    "name": one.name,
                    "host": one.host,
                    "pid": one.pid,
                    "state": state_of(one),
                    "slots": one.slots,
                    "in_flight": one.in_flight,
                    "loop_lag": one.loop_lag,
                    "blocked_seconds": one.blocked_seconds,
                    "seconds_since_beat": one.seconds_since_beat,
                    "running": [running_as_json(task) for task in one.running],
                }
                for one in self.pulse.workers
            ],
            "tasks": [rate_as_json(one) for one in self.tasks],
        }

    def lines(self, width: int) -> list[str]:
        """As it is printed in a window of this width."""
        pulse, written = self.pulse, StringIO()
        console = Console(file=written, width=width, color_system=None)
        workers = [one for one in pulse.workers if one.is_alive]
        written.write(
            f"{pulse.at.astimezone():%H:%M:%S %Z}  workers {len(workers)}  delayed {pulse.delayed}  "
            f"dead letters {pulse.dead_letters}\n\n"
        )
        console.print(_queues_table(pulse.queues, self.rates))
        written.write("\n")
        if pulse.workers:
            console.print(_workers_table(pulse.workers))
        else:
            written.write("no worker lives\n")
        if self.tasks:
            written.write(f"\nin the last {shown_seconds(self.seconds)}\n")
            console.print(rates_table(self.tasks))
        if running := running_lines(pulse.workers):
            written.write("\nruns now\n")
            for line in running:
                console.print(Text(line, overflow="fold"))
        return written.getvalue().splitlines()


def _queue(one: QueuePulse, rate: QueueRate) -> dict[str, object]:
    return {
        "name": one.name,
        "waiting": one.waiting,
        "running": one.running,
        "oldest_seconds": one.oldest_seconds,
        "in_rate": rate.put,
        "out_rate": rate.taken,
        "workers": one.workers,
        "is_paused": one.is_paused,
    }


def _queues_table(queues: Sequence[QueuePulse], rates: Sequence[QueueRate]) -> Table:
    table = _table("queue", "waiting", "oldest", "in/s", "out/s", "running", "workers", "state")
    for one, rate in zip(queues, rates, strict=True):
        oldest = "-" if one.oldest_seconds is None else shown_seconds(one.oldest_seconds)
        state = state_of_queue(is_paused=one.is_paused, waiting=one.waiting, workers=one.workers)
        figures = (one.waiting, oldest, shown_rate(rate.put), shown_rate(rate.taken), one.running, one.workers)
        table.add_row(*map(Text, (shown(one.name), *map(str, figures), state)))
    return table


def _workers_table(workers: Sequence[WorkerView]) -> Table:
    table = _table("worker", "has", "slots", "state", "runs longest")
    table.columns[-1].justify = "left"
    for one in workers:
        place = f"{one.host}:{one.pid}" if one.host else one.name
        longest = running_line(one.running[0]) if one.running else "-"
        slots = str(one.slots or "-")
        table.add_row(*map(Text, (shown(place), str(one.in_flight), slots, said_of_state(one), longest)))
    return table


def _table(first: str, *titles: str) -> Table:
    table = new_table(first, *titles)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
