"""`kiqstart retention list`: the policies, when they run, and how they stand."""

import asyncio
from collections.abc import Iterator
from datetime import datetime

from kiqstart.cli.retention.history import run_as_json
from kiqstart.cli.retention.reading import checked_retention
from kiqstart.cli.terminal import echo, echo_json, shown
from kiqstart.operations.retention import state_of_run
from kiqstart.operations.retention_policies import PolicyView, read_policies
from kiqstart.operations.schedule_wording import shown_arguments, shown_timing


def run_list(*, as_json: bool) -> int:
    """Print a paragraph for each policy; gives 1 if one of them cannot be run.

    Raises:
        NotReadError: PostgreSQL is away, or the engine's tables are not there.
    """
    policies = asyncio.run(_read())
    if as_json:
        echo_json([policy_as_json(one) for one in policies])
    else:
        for one in policies:
            for line in _lines(one):
                echo(line)
    return 1 if any(one.problem for one in policies) else 0


def policy_as_json(one: PolicyView) -> dict[str, object]:
    """A policy as `--json` has it."""
    policy, standing = one.policy, one.standing
    return {
        "policy": policy.name,
        "action": policy.action,
        "table": policy.table.name,
        "archive": None if policy.archive_table is None else policy.archive_table.name,
        "predicate": None if standing is None else standing.predicate,
        "pace": None if policy.pace is None else policy.pace.value,
        "window": None if policy.window is None else str(policy.window),
        "task": one.task,
        "schedules": [{"name": schedule.name, "when": shown_timing(schedule.timing)} for schedule in one.schedules],
        "backlog": None if standing is None else standing.backlog,
        "quarantined": None if standing is None else standing.quarantined,
        "last_run": None if one.last_run is None else run_as_json(one.last_run),
        "last_success": None if one.last_success is None else one.last_success.isoformat(),
        "problem": one.problem or None,
    }


def _lines(one: PolicyView) -> Iterator[str]:
    policy, standing, run = one.policy, one.standing, one.last_run
    into = f" into {shown(policy.archive_table.name)}" if policy.archive_table is not None else ""
    yield shown(policy.name)
    yield f"  {policy.action}s rows of {shown(policy.table.name)}{into}"
    if standing is None:
        yield f"  cannot be run: {shown(one.problem)}"
    else:
        yield f"  where {shown(standing.predicate)}"
        held = f"; {standing.quarantined:,} that cannot go are left alone" if standing.quarantined else ""
        yield f"  backlog about {standing.backlog:,} rows{held}"
    pace = f", pace {policy.pace.value}" if policy.pace is not None else ""
    window = f", from {policy.window}" if policy.window is not None else ""
    yield f"  run by {shown(one.task) if one.task else 'no task that is known'}{pace}{window}"
    for schedule in one.schedules:
        arguments = " ".join(shown_arguments([], schedule.arguments))
        yield f"  schedule {shown(schedule.name)}: {shown_timing(schedule.timing)} {arguments}".rstrip()
    if run is not None:
        yield f"  last run {_time(run.started_at)}: {run.deleted:,} rows, {run.failed:,} failed, {state_of_run(run)}"
    yield f"  last success {_time(one.last_success)}"


def _time(time: datetime | None) -> str:
    return "-" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


async def _read() -> list[PolicyView]:
    async with checked_retention("how the policies stand") as app:
        return await read_policies(app)
