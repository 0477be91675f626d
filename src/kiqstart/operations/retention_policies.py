"""An application's retention policies: what they name, when they run, and how they stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from kiqstart.app import App
from kiqstart.cleanups.task import RETENTION_RUN
from kiqstart.errors import OperatorError
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.history import PastRun
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.report import StopReason
from kiqstart.retention.standing import PolicyStanding
from kiqstart.scheduler.table import Schedule

_MOST_RUNS: Final = 50


class NoPolicyTaskError(OperatorError):
    """No task of the application runs a policy."""


@dataclass(frozen=True, kw_only=True)
class PolicyView:
    """A policy.

    Args:
        task: that runs it; None where the application has not said which.
        schedules: by which that is sent for it.
        standing: None where the policy cannot be run.
        problem: why it cannot be; '' where it can.
        last_run: None where none is kept.
        last_success: when a run has last gone through all; None where none that is kept has.
    """

    policy: RetentionPolicy
    task: str | None
    schedules: Sequence[Schedule]
    standing: PolicyStanding | None
    problem: str
    last_run: PastRun | None
    last_success: datetime | None


async def read_policies(app: App) -> list[PolicyView]:
    """All policies, each with its last run.

    Raises:
        MissingPartError: the application has none.
        RetentionSchemaError: the engine's own tables are not there, or of another version.
        DBAPIError: PostgreSQL refuses it.
    """
    return [await _view(app, one) for one in app.needs_retention().all()]


def task_of_policy(app: App, name: str) -> str | None:
    """The task that runs a policy; None where the application has not said which."""
    task = app.needs_retention().tasks.get(name)
    if task is None and app.broker.find_task(RETENTION_RUN) is not None:
        return RETENTION_RUN
    return task


def needed_task_of_policy(app: App, name: str) -> str:
    """The task that runs a policy.

    Raises:
        NoPolicyTaskError: the application has not said which.
    """
    task = task_of_policy(app, name)
    if task is None:
        raise NoPolicyTaskError(
            f"no task runs the policy {name!r}: register RetentionTask(policies=…), or name its own in "
            f"RetentionPolicies(…, tasks={{{name!r}: …}})"
        )
    return task


async def _view(app: App, policy: RetentionPolicy) -> PolicyView:
    engine, task = app.needs_retention().engine, task_of_policy(app, policy.name)
    standing, problem = None, ""
    try:
        standing = await engine.standing(policy)
    except PolicyError as error:
        problem = str(error)
    runs = await engine.history(policy.name, limit=_MOST_RUNS)
    return PolicyView(
        policy=policy,
        task=task,
        schedules=[one for one in app.schedules if task is not None and _is_of(one, task, policy.name)],
        standing=standing,
        problem=problem,
        last_run=runs[0] if runs else None,
        last_success=last_success(runs),
    )


def last_success(runs: Sequence[PastRun]) -> datetime | None:
    """When one of these runs has last gone through all rows; None where none has."""
    ends = [ended_at(one) for one in runs if one.stopped is StopReason.END]
    return max((one for one in ends if one is not None), default=None)


def ended_at(run: PastRun) -> datetime | None:
    """When a run has ended; None where Python has no such time."""
    if run.started_at is None:
        return None
    try:
        return run.started_at + timedelta(seconds=run.seconds)
    except OverflowError:
        return None


def _is_of(schedule: Schedule, task: str, policy: str) -> bool:
    is_named = task != RETENTION_RUN or schedule.arguments.get("policy") == policy
    return schedule.task == task and is_named
