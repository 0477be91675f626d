"""What a scenario is, and how one is run and judged."""

import asyncio
import re
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.checker import Checker, Verdict
from tests.faults.fault import Kind
from tests.faults.guardian import Guardian
from tests.faults.programs import ReceiverKind, WorkerCommand
from tests.faults.promises import check
from tests.faults.records import task_of
from tests.faults.world import World, running_world

Body = Callable[[World], Awaitable[None]]

SECONDS_TO_RECOVER: Final = 10.0
CALLS: Final = 6.0
_OFFENDERS: Final = 5
_LOG_LINES: Final = 15
# A log's lines that tell nothing: of tasks that are run, and of those that fail since they are told to.
_USUAL: Final = re.compile(r"Executing task|Task \S+ succeeded in|smart_retry_middleware")
_EXPECTED: Final = re.compile(
    r"[^\n]*(Task \S+ failed in [^\n]*|Exception found while executing function\.)\n"
    r"Traceback[^\n]*(\n [^\n]*)*\n\S*FlakyError\n"
)
_FAULTS: Final = 40


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of trouble.

    Args:
        name: a few words for the table.
        body: causes the trouble. Whoever runs it waits until all is done again, and judges.
        both_receivers: whether the short form runs it on taskiq's own receiver, too.
        lease: the broker's, in seconds.
        recovers_within: seconds that the recovery may take.
        cuts_short: how many running tasks its faults must hit at least: it shows nothing where they hit none.
        ends_within: seconds after which it is given up.
        calls: how many calls of all kinds are made each second, beside what the body sends.
        misfit_grace: the broker's, in seconds.
    """

    name: str
    body: Body
    both_receivers: bool = False
    lease: float = 5.0
    recovers_within: float = SECONDS_TO_RECOVER
    cuts_short: int = 0
    ends_within: float = 110.0
    calls: float = CALLS
    misfit_grace: float = 60.0


SCENARIOS: Final[list[Scenario]] = []


def scenario(
    name: str,
    *,
    both_receivers: bool = False,
    lease: float = 5.0,
    recovers_within: float = SECONDS_TO_RECOVER,
    cuts_short: int = 0,
    ends_within: float = 110.0,
    calls: float = CALLS,
    misfit_grace: float = 60.0,
) -> Callable[[Body], Body]:
    """Enter a function into the list of scenarios; the arguments are those of `Scenario`."""

    def enter(body: Body) -> Body:
        SCENARIOS.append(
            Scenario(
                name=name,
                body=body,
                both_receivers=both_receivers,
                lease=lease,
                recovers_within=recovers_within,
                cuts_short=cuts_short,
                ends_within=ends_within,
                calls=calls,
                misfit_grace=misfit_grace,
            )
        )
        return body

    return enter


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a scenario. No `problems`: all that was promised was kept."""

    scenario: Scenario
    receiver: ReceiverKind
    verdict: Verdict
    refused: int
    breaches: int
    events: int
    recovery: float | None
    seconds: float
    problems: list[str] = field(default_factory=list)
    evidence: str = ""


async def run_scenario(
    scenario: Scenario,
    receiver: ReceiverKind,
    folder: Path,
    guardian: Guardian,
    *,
    command: WorkerCommand,
    long: bool,
) -> Outcome:
    """Run a scenario in a folder of its own, and judge it."""
    began = time.monotonic()
    world = World(
        folder=folder,
        guardian=guardian,
        receiver=receiver,
        command=command,
        lease=scenario.lease,
        misfit_grace=scenario.misfit_grace,
        long=long,
    )
    async with running_world(world):
        world.begin(scenario.name)
        try:
            async with asyncio.timeout(scenario.ends_within):
                await _play(world, scenario)
        except Exception:  # noqa: BLE001  # a scenario that cannot be played is a failure as any other
            world.problems.append("stopped by an error: " + traceback.format_exc())
        seconds = time.monotonic() - began
        # The other scenarios go on meanwhile.
        return await asyncio.to_thread(judge, world, scenario, receiver, seconds=seconds)


async def _play(world: World, scenario: Scenario) -> None:
    async with AsyncExitStack() as stack:
        if scenario.calls:
            await stack.enter_async_context(world.traffic(scenario.calls, seed=scenario.name))
        await scenario.body(world)
    await world.finish()


def judge(world: World, scenario: Scenario, receiver: ReceiverKind, *, seconds: float) -> Outcome:
    """Hold what was recorded against what is promised."""
    checker = world.checker()
    verdict = checker.verdict()
    refused = [refusal for producer in world.producers for refusal in producer.refused]
    refused += [refusal for callers in world.callers for refusal in callers.refused]
    recovery = _recovery(world, checker)
    hits = sum(len(checker.restarts(fault)) for fault in world.faults.all)
    breaches = check(world.records)
    problems = list(world.problems)
    problems += breaches[:_OFFENDERS]
    if len(breaches) > _OFFENDERS:
        problems.append(f"{len(breaches)} promises in all: python -m tests.faults --check {world.recorder.file}")
    if refused:
        problems.append(f"sends were refused: {_some(refused)}")
    if recovery is not None and recovery > scenario.recovers_within:
        problems.append(f"recovery took {recovery:.1f} s, {scenario.recovers_within:g} s are promised")
    if hits < scenario.cuts_short:
        problems.append(f"only {hits} running tasks were hit, {scenario.cuts_short} were to be: this shows little")
    return Outcome(
        scenario=scenario,
        receiver=receiver,
        verdict=verdict,
        refused=len(refused),
        breaches=len(breaches),
        events=len(world.records.events),
        recovery=recovery,
        seconds=seconds,
        problems=problems,
        evidence=evidence(world, verdict) if problems else "",
    )


def evidence(world: World, verdict: Verdict) -> str:
    """The faults, the records of a few offenders, and the ends of the logs."""
    lines = [f"fault {fault}" for fault in world.faults.all[:_FAULTS]]
    for name in (verdict.twice + verdict.lost)[:_OFFENDERS]:
        sends = world.records.sendings[task_of(name)]
        lines.append(f"{name}: sent {world.records.sent.get(name, 0.0):.3f}, sends {sends}")
        lines.extend(f"    {run}" for run in world.records.runs.get(name, []))
    culprits = {run.manager for name in verdict.twice + verdict.lost for run in world.records.runs.get(name, [])}
    for pid, log in world.logs().items():
        if culprits and pid not in culprits:
            continue
        lines.append(f"log of the workers of {pid} (the last lines; all of it is in {world.folder}):")
        telling = [line for line in _EXPECTED.sub("", log).splitlines() if line and not _USUAL.search(line)]
        lines.extend(f"    {line}" for line in telling[-_LOG_LINES:])
    return "\n".join(lines)


def _recovery(world: World, checker: Checker) -> float | None:
    """The slowest of all faults' recoveries."""
    ends = sorted(run.end for runs in world.records.runs.values() for run in runs if run.end is not None)
    seconds: list[float] = []
    for fault in world.faults.all:
        seconds.extend(checker.restarts(fault))
        if fault.kind in {Kind.REDIS, Kind.WIPE}:
            seconds.extend([end - fault.ended for end in ends if end > fault.ended][:1])
    return max(seconds, default=None)


def _some(items: list[str]) -> str:
    shown = ", ".join(items[:_OFFENDERS])
    return shown if len(items) <= _OFFENDERS else f"{shown} and {len(items) - _OFFENDERS} more"
