"""The command's options."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.throughput.contestants import ALL, KIQSTART, TASKIQ

_SHORT_TASKS = 300
_TASKS = 20_000


class Options(argparse.Namespace):
    """What the command was given."""

    tasks: int
    round_trips: int
    idle: float
    repeat: int
    limit: float
    only: list[str] | None
    peers: list[str] | None
    against: Path | None
    short: bool
    output: Path
    pictures: Path | None


def parse(home: Path, parts: Sequence[str]) -> Options:
    """Read the command line; `home` is where results go, `parts` those that there are."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput", description="Measure kiqstart beside other task queues, on one Redis."
    )
    add = parser.add_argument
    add("--tasks", type=int, help=f"tasks of a run; of a fast contestant's some times as many ({_TASKS})")
    add("--round-trips", type=int, default=500, help="tasks that are sent one by one and waited for (500)")
    add("--idle", type=float, default=5, help="seconds for which an idle worker is watched (5)")
    add("--repeat", type=int, help="how often each measurement is made; medians count (3)")
    add("--limit", type=float, default=180, help="seconds after which a run is stopped (180)")
    add("--only", nargs="+", choices=parts, metavar="PART", help=f"measure these parts only: {', '.join(parts)}")
    peers = [name for name in ALL if name not in {KIQSTART.name, TASKIQ.name}]
    of = f"measure {KIQSTART.name}, {TASKIQ.name} and these only: {', '.join(peers)}"
    add("--peers", nargs="*", choices=peers, metavar="NAME", help=of)
    against = "measure this checkout beside another one, in which `make install` was run, and nobody else"
    add("--against", type=_absolute, metavar="FOLDER", help=against)
    add(
        "--short", action="store_true", help=f"whether it works: kiqstart and taskiq stream, {_SHORT_TASKS} tasks, once"
    )
    add("--output", type=_absolute, default=home, help="where results.json, throughput.md and the picture go")
    add("--pictures", type=_absolute, help="another folder for the picture, say docs")
    options = parser.parse_args(namespace=Options())
    if options.against is not None and options.output == home:
        # The figures beside other task queues stay as they are.
        options.output = home / "against"
    options.tasks = options.tasks or (_SHORT_TASKS if options.short else _TASKS)
    options.repeat = options.repeat or (1 if options.short else 3)
    if options.tasks < 100 or options.repeat < 1 or options.round_trips < 2:  # noqa: PLR2004 - fewer say nothing
        parser.error("--tasks must be 100 or more, --round-trips 2 or more, and --repeat 1 or more")
    if options.short:
        options.round_trips, options.idle = min(options.round_trips, 5), min(options.idle, 0.5)
    return options


def _absolute(text: str) -> Path:
    return Path(text).absolute()
