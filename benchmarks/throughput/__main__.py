"""The command: measures, prints tables, and keeps results, tables and the picture in a folder."""

import os
import platform
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from redis import Redis
from rich.console import Console

from benchmarks.progress import Progress
from benchmarks.redis import empty_database
from benchmarks.separate import SeparateProgramError
from benchmarks.throughput.client import PeerError
from benchmarks.throughput.contestants import ALL, KIQSTART, TASKIQ, TASKIQ_HERE, Installed, other_checkout
from benchmarks.throughput.database import rows_database
from benchmarks.throughput.drawing import draw
from benchmarks.throughput.entrants import enter
from benchmarks.throughput.limits import measure_limits
from benchmarks.throughput.options import Options, parse
from benchmarks.throughput.plan import Plan
from benchmarks.throughput.results import Environment, Part, Results
from benchmarks.throughput.running import measure_running
from benchmarks.throughput.scale import measure_scale
from benchmarks.throughput.sending import measure_sending
from benchmarks.throughput.tables import all_sections
from benchmarks.throughput.waiting import measure_waiting
from kiqstart.app_place import project_folder
from kiqstart.cli.signals import exit_on_signal, run_until_signal
from kiqstart.testing.servers import Servers, running_servers

# By the names of the fields of Results.
_PARTS: Final[dict[str, Callable[[Plan], Awaitable[Part]]]] = {
    "sending": measure_sending,
    "running": measure_running,
    "waiting": measure_waiting,
    "limits": measure_limits,
    "scale": measure_scale,
}
_WIDTH: Final = 200


async def _benchmark(options: Options, plan: Plan, database_url: str) -> Results:
    file = options.output / "results.json"
    # Parts that are not measured now keep their figures.
    results = Results.model_validate_json(file.read_bytes()) if file.exists() else Results()
    parts = options.only or [part for part in _PARTS if not (options.short and part == "limits")]
    async with AsyncExitStack() as stack:
        if "scale" in parts:
            plan = replace(plan, database_url=await stack.enter_async_context(rows_database(database_url)))
        plan = replace(plan, entrants=await enter(_contestants(options), plan))
        for part in parts:
            setattr(results, part, await _PARTS[part](plan))
            file.write_text(results.model_dump_json(indent=1), encoding="utf-8")
    return results


def _contestants(options: Options) -> Sequence[Installed]:
    if options.against is not None:
        return (KIQSTART, other_checkout(options.against))
    if options.short:
        return (KIQSTART, TASKIQ_HERE)
    if options.peers is None:
        return tuple(ALL.values())
    return tuple(one for one in ALL.values() if one in {KIQSTART, TASKIQ} or one.name in options.peers)


def _plan(options: Options, servers: Servers, redis_url: str, folder: Path) -> Plan:
    environment = Environment(
        redis=servers.redis,
        database=servers.database,
        python=platform.python_version(),
        cores=len(os.sched_getaffinity(0)),
    )
    return Plan(
        tasks=options.tasks,
        round_trips=options.round_trips,
        idle_seconds=options.idle,
        repeat=options.repeat,
        most_seconds=options.limit,
        is_short=options.short,
        entrants=(),
        environment=environment,
        redis=Redis.from_url(redis_url),
        redis_url=redis_url,
        database_url=None,
        log_folder=folder,
        progress=Progress(),
    )


async def _show(options: Options, results: Results) -> None:
    sections = all_sections(results)
    console = Console(width=None if os.isatty(1) else _WIDTH)
    for section in sections:
        section.show(console)
    text = "\n".join(section.markdown() for section in sections)
    (options.output / "throughput.md").write_text(text, encoding="utf-8")
    if not options.short:
        await draw(results, options.pictures or options.output)
    console.print(f"Results and tables are in {options.output}.", markup=False)


def _main() -> None:
    home = project_folder() / ".local" / "benchmarks"
    options = parse(home / "throughput", list(_PARTS))
    if not Path("/proc/self/smaps_rollup").exists():
        raise SystemExit("this benchmark reads what processes take from /proc, which only Linux has")
    options.output.mkdir(parents=True, exist_ok=True)
    with exit_on_signal(), running_servers(home / "stack") as servers, TemporaryDirectory() as folder:
        if servers.redis_url is None:
            raise SystemExit(f"the benchmark sends tasks through Redis: {servers.redis}")
        with empty_database(servers.redis_url) as redis_url:
            plan = _plan(options, servers, redis_url, Path(folder))
            try:
                results = run_until_signal(_benchmark(options, plan, servers.database_url))
                run_until_signal(_show(options, results))
            except (PeerError, SeparateProgramError) as error:
                raise SystemExit(str(error)) from None


_main()
