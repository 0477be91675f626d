"""Play histories by chance, and say which promises do not hold: `python -m tests.simulation --histories 10000`."""

# ruff: noqa: T201  # it is a program that prints

import argparse
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from tests.simulation.campaign import Broken, Played, add, play_some, take_core
from tests.simulation.defects import DEFECTS, Search, find_defect
from tests.simulation.history import play
from tests.simulation.kept import as_json, load
from tests.simulation.plan import Plan
from tests.simulation.plans import plan_of
from tests.simulation.server import Server

_AT_ONCE: Final = 50
_HISTORIES: Final = 1000
_HISTORIES_FOR_A_DEFECT: Final = 400
_SECONDS_FOR_A_DEFECT: Final = 60.0


def main(arguments: Sequence[str]) -> int:
    """Return the exit code: 1 where a promise does not hold, or a defect is not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument(
        "--histories",
        type=int,
        help=f"how many (default: {_HISTORIES}); with --defects, how many at most for each (default: "
        f"{_HISTORIES_FOR_A_DEFECT})",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first one; each has the next seed (default: 0)")
    parser.add_argument("--processes", type=int, default=2, help="at once, each with a Redis of its own (default: 2)")
    parser.add_argument("--minutes", type=float, help="begin no more after so long")
    parser.add_argument("--defects", action="store_true", help="put known defects back, one by one, and find them")
    parser.add_argument("--show", type=int, metavar="SEED", help="print each command of one history")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="print each command of a kept history")
    options = parser.parse_args(arguments)
    if options.show is not None:
        return _show(plan_of(options.show))
    if options.replay is not None:
        return _show(load(options.replay))
    if options.defects:
        search = Search(
            seed=options.seed, histories=options.histories or _HISTORIES_FOR_A_DEFECT, seconds=_SECONDS_FOR_A_DEFECT
        )
        return _find_defects(search, options.processes)
    return _simulate(options.histories or _HISTORIES, options.seed, options.processes, options.minutes)


def _simulate(histories: int, seed: int, processes: int, minutes: float | None) -> int:
    began = time.monotonic()
    left = deque(range(seed, seed + histories, _AT_ONCE))
    total = Played(histories=0, commands=0, runs=0, virtual=0.0, broken=[])
    under_way: deque[Future[Played]] = deque()
    with _pool(processes) as pool:
        while left or under_way:
            is_over = minutes is not None and time.monotonic() - began > minutes * 60
            while left and not is_over and len(under_way) < processes * 2:
                start = left.popleft()
                under_way.append(pool.submit(play_some, start, min(_AT_ONCE, seed + histories - start)))
            if not under_way:
                break
            played = under_way.popleft().result()
            for one in played.broken:
                _report(one)
            total = add(total, played)
    seconds = time.monotonic() - began
    print(
        f"{total.histories} histories from seed {seed}: {len(total.broken)} break a promise; {total.runs} runs, "
        f"{total.commands} commands, {total.virtual / 3600:.1f} virtual hours in {seconds:.0f} s"
    )
    return 1 if total.broken else 0


def _pool(processes: int) -> ProcessPoolExecutor:
    context = get_context("spawn")
    taken = context.Value("i", 0)
    return ProcessPoolExecutor(processes, mp_context=context, initializer=take_core, initargs=(taken,))


def _report(one: Broken) -> None:
    print(f"seed {one.seed}: {one.broken}")
    for step in one.plan.steps:
        print(f"    at {step.at:.3f} {step.do} {json.dumps(step.args)}")
    print(f"    kept as a file: {as_json(one.plan)}", flush=True)


def _show(plan: Plan) -> int:
    with Server() as server:
        verdict = play(plan, server, trace=print)
    print(verdict)
    return 1 if verdict.broken else 0


def _find_defects(search: Search, processes: int) -> int:
    missed = 0
    with _pool(processes) as pool:
        searches = {name: pool.submit(find_defect, name, search) for name in DEFECTS}
        for name, under_way in searches.items():
            try:
                found = under_way.result()
            except (ValueError, AttributeError) as error:
                found, text = None, f"CANNOT BE PUT BACK: {error}"
            else:
                text = "NOT FOUND" if found is None else f"{found.number:5} histories: {found.broken}"
            missed += found is None
            print(f"{name:50} {text}", flush=True)
    print(f"{len(DEFECTS) - missed} of {len(DEFECTS)} defects are found")
    return 1 if missed else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets have their order from it.
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        sys.exit(subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}, check=False).returncode)
    sys.exit(main(sys.argv[1:]))
