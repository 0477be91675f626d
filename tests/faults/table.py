"""The suite's lines on standard output."""

from collections.abc import Sequence

from tests.faults.scenario import Outcome

HEADER = (
    "s to recover: from a fault to the last new start of a task that it cut short (after SIGTERM: from the end of the\n"
    "grace); where Redis was away: from its return to the first end of a task. again: run again, since a worker died,\n"
    "froze past its lease or ended; twice: run again without any such reason; breaches: of what is promised, in the\n"
    "events of the history.\n\n"
    f"{'scenario':50}  {'receiver':8}  accepted  refused  lost  again  twice  events  breaches  s to recover  seconds"
)


def line(outcome: Outcome) -> str:
    """The line of a scenario."""
    verdict = outcome.verdict
    recovery = "-" if outcome.recovery is None else f"{outcome.recovery:.1f}"
    counts = f"{verdict.accepted:8}  {outcome.refused:7}  {len(verdict.lost):4}  {len(verdict.allowed):5}"
    counts += f"  {len(verdict.twice):5}  {outcome.events:6}  {outcome.breaches:8}"
    return (
        f"{outcome.scenario.name:50}  {outcome.receiver:8}  {counts}"
        f"  {recovery:>12}  {outcome.seconds:7.1f}  {'FAILED' if outcome.problems else 'ok'}"
    )


def summary(failed: Sequence[Outcome]) -> str:
    """What is printed last, since it is what is seen first: the names of scenarios and a line for each problem."""
    lines = [
        f"FAILED {outcome.scenario.name} ({outcome.receiver} receiver): {problem.strip().splitlines()[-1]}"
        for outcome in failed
        for problem in outcome.problems
    ]
    return "\n".join(lines)


def report(outcome: Outcome) -> str:
    """What went wrong in a scenario, with the evidence."""
    problems = "\n".join(f"  {problem}" for problem in outcome.problems)
    return f"\n{outcome.scenario.name} ({outcome.receiver} receiver):\n{problems}\n{outcome.evidence}"
