"""The command `make test-faults`: plays all scenarios, and prints a line for each."""

import argparse
import asyncio
import re
import sys
import time
from pathlib import Path
from typing import Final

from tests.faults import table
from tests.faults.guardian import Guardian, guardian
from tests.faults.programs import ReceiverKind, WorkerCommand
from tests.faults.promises import HistoryError, check, read_history
from tests.faults.random_schedule import run_random_schedule
from tests.faults.scenario import Outcome, Scenario, run_scenario
from tests.faults.scenarios import SCENARIOS

from kiqstart.app_place import project_folder
from kiqstart.cli.signals import exit_on_signal, run_until_signal

# Most of the time a scenario waits, so more of them than there are cores fit side by side.
_AT_ONCE: Final = 5


class _Options(argparse.Namespace):
    minutes: float
    seed: int
    only: str
    at_once: int
    command: WorkerCommand
    check: list[Path]


def _options() -> _Options:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Do harm, and see whether tasks live.")
    parser.add_argument("--minutes", type=float, default=0.0, help="play a random schedule for so long")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the random schedule")
    parser.add_argument("--only", default="", help="play only the scenarios whose names contain this text")
    parser.add_argument("--at-once", type=int, default=_AT_ONCE, help=f"scenarios side by side ({_AT_ONCE})")
    parser.add_argument(
        "--command", type=WorkerCommand, choices=WorkerCommand, default=WorkerCommand.TASKIQ, help="what starts workers"
    )
    parser.add_argument(
        "--check", type=Path, nargs="+", metavar="FILE", default=[], help="play nothing; check histories that were kept"
    )
    return parser.parse_args(namespace=_Options())


async def _play(options: _Options, home: Path, guard: Guardian) -> bool:
    room = asyncio.Semaphore(options.at_once)
    long = options.minutes > 0

    async def play(scenario: Scenario, receiver: ReceiverKind) -> Outcome:
        folder = home / re.sub(r"\W+", "-", f"{scenario.name} {receiver}")
        async with room:
            outcome = await run_scenario(scenario, receiver, folder, guard, command=options.command, long=long)
        print(table.line(outcome), flush=True)
        return outcome

    print(table.HEADER, flush=True)
    outcomes = await asyncio.gather(
        *(
            play(scenario, receiver)
            # The long ones come first, so that no core is idle at the end.
            for scenario in reversed(SCENARIOS)
            for receiver in ReceiverKind
            if options.only in scenario.name and (receiver is ReceiverKind.OWN or long or scenario.both_receivers)
        )
    )
    if long and options.only in "random schedule":
        folder = home / "random-schedule"
        outcomes.append(
            await run_random_schedule(
                folder, guard, command=options.command, minutes=options.minutes, seed=options.seed
            )
        )
        print(table.line(outcomes[-1]), flush=True)
    failed = [outcome for outcome in outcomes if outcome.problems]
    for outcome in failed:
        print(table.report(outcome))
    if failed:
        print(f"\n{table.summary(failed)}")
    print(f"\n{len(outcomes) - len(failed)} of {len(outcomes)} scenarios kept all promises.")
    return not failed


def _check(file: Path) -> int:
    """Check a history again; the exit code is 1 where something was not kept, and 2 where it is no history."""
    try:
        records = read_history(file)
    except HistoryError as error:
        print(error, file=sys.stderr)
        return 2
    breaches = check(records)
    for breach in breaches:
        print(breach)
    print(f"{file}: {len(records.events)} events of {len(records.sent)} accepted tries: {len(breaches)} breaches")
    return 1 if breaches else 0


def _main() -> None:
    home = project_folder() / ".local" / "faults"
    options = _options()
    if options.check:
        sys.exit(max(map(_check, options.check)))
    with exit_on_signal(), guardian() as guard:
        kept = run_until_signal(_play(options, home, guard))
    sys.exit(0 if kept else 1)


_main()
