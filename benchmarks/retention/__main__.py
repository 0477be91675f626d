"""The command: measures, prints tables, and keeps results, tables and pictures in a folder."""

import argparse
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pydantic import ValidationError
from rich.console import Console

from benchmarks.progress import Progress
from benchmarks.retention.dataset import Datasets
from benchmarks.retention.document import renewed
from benchmarks.retention.drawing import draw
from benchmarks.retention.equal import measure_equal
from benchmarks.retention.flatness import measure_flatness
from benchmarks.retention.indexes import measure_indexes
from benchmarks.retention.latency import measure_busy, measure_foreground
from benchmarks.retention.memory import measure_memory
from benchmarks.retention.plan import Plan
from benchmarks.retention.results import Part, Results
from benchmarks.retention.server import Server
from benchmarks.retention.speed import measure_speed
from benchmarks.retention.tables import all_sections
from benchmarks.retention.worker import Workers
from kiqstart.app_place import project_folder
from kiqstart.cli.signals import exit_on_signal, run_until_signal
from kiqstart.testing.servers import running_servers

# By the names of the fields of Results.
_PARTS: Final[dict[str, Callable[[Plan], Awaitable[Part]]]] = {
    "speed": measure_speed,
    "equal": measure_equal,
    "flatness": measure_flatness,
    "foreground": measure_foreground,
    "busy": measure_busy,
    "memory": measure_memory,
    "indexes": measure_indexes,
}
_WIDTH: Final = 160


class _Options(argparse.Namespace):
    rows: int
    repeat: int
    large: bool
    only: list[str] | None
    output: Path
    docs: bool
    once_above: float
    limit: float


def _options(home: Path) -> _Options:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retention", description="Measure the retention engine against its limits and peers."
    )
    add = parser.add_argument
    add("--rows", type=int, default=1_000_000, help="rows to delete in each run, among as many to keep (1000000)")
    add("--repeat", type=int, default=3, help="how often each run is made; medians count (3)")
    add("--only", nargs="+", choices=_PARTS, metavar="PART", help=f"measure these parts only: {', '.join(_PARTS)}")
    add("--large", action="store_true", help="measure memory with ten times the rows, too")
    add("--output", type=_absolute, default=home, help="where results.json, retention.md and the pictures go")
    add("--docs", action="store_true", help="renew the figures and the pictures of docs/retention-benchmark.md, too")
    add("--once-above", type=float, default=60, help="seconds from which on a way to delete is not repeated (60)")
    add("--limit", type=float, default=10, help="seconds after which a loop is stopped (10)")
    options = parser.parse_args(namespace=_Options())
    if options.rows < 1000 or options.repeat < 1:  # noqa: PLR2004 - fewer rows are no run
        parser.error("--rows must be 1000 or more, and --repeat 1 or more")
    return options


def _absolute(text: str) -> Path:
    return Path(text).absolute()


def _kept(file: Path) -> Results:
    """Return earlier results, unless they are another version's."""
    try:
        return Results.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return Results()


async def _benchmark(options: _Options, server: Server, folder: Path) -> None:
    file = options.output / "results.json"
    # Parts that are not measured now keep their figures.
    results = _kept(file)
    async with server.own_data():
        plan = Plan(
            rows=options.rows,
            repeat=options.repeat,
            large=options.large,
            once_above=options.once_above,
            most_seconds=options.limit,
            environment=await server.environment(),
            datasets=Datasets(server),
            workers=Workers(server=server, log_folder=folder),
            progress=Progress(),
        )
        for name in options.only or _PARTS:
            setattr(results, name, await _PARTS[name](plan))
            file.write_text(results.model_dump_json(indent=1), encoding="utf-8")
    sections = all_sections(results)
    console = Console(width=None if os.isatty(1) else _WIDTH)
    for section in sections:
        section.show(console)
    (options.output / "retention.md").write_text(
        "\n".join(section.markdown() for section in sections), encoding="utf-8"
    )
    await draw(results, options.output)
    if options.docs:
        docs = project_folder() / "docs"
        document = docs / "retention-benchmark.md"
        document.write_text(renewed(document.read_text(encoding="utf-8"), sections), encoding="utf-8")
        await draw(results, docs)
    console.print(f"Results and tables are in {options.output}.", markup=False)


def _main() -> None:
    home = project_folder() / ".local" / "benchmarks"
    options = _options(home)
    options.output.mkdir(parents=True, exist_ok=True)
    with exit_on_signal(), running_servers(home / "stack") as servers, TemporaryDirectory() as folder:
        if servers.redis_url is None:
            raise SystemExit(f"the benchmark sends tasks through Redis: {servers.redis}")
        server = Server(
            database_url=servers.database_url,
            redis_url=servers.redis_url,
            database=servers.database,
            redis=servers.redis,
            prefix=f"kiqstart_benchmark_{os.getpid()}",
        )
        run_until_signal(_benchmark(options, server, Path(folder)))


_main()
