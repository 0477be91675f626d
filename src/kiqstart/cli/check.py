"""`kiqstart check`: is all there that a worker needs?"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.redis_retry import reason
from kiqstart.broker.rights import check_rights
from kiqstart.broker.roles import Role
from kiqstart.broker.run_stats import PROBLEMS, TaskStats, read_recent_task_stats
from kiqstart.cli.application import application, stream_broker
from kiqstart.cli.schedules.schedulers import missing_scheduler
from kiqstart.cli.schedules.wording import shown_seconds
from kiqstart.cli.terminal import echo, shown
from kiqstart.errors import OperatorError
from kiqstart.redis.client import RedisUnavailableError, check_redis
from kiqstart.scheduler.source import DurableScheduleSource

Check = Callable[[App], Awaitable[str]]

_ANSWER_SECONDS: Final = 5.0
_MOST_SHOWN: Final = 5
_SEE_RUNS: Final = (None, Role.OPERATOR, Role.MONITOR)


class RetentionCheckError(OperatorError):
    """The retention policies cannot be checked."""


class UnknownRoleError(OperatorError):
    """There is no such role."""


class FailingTasksError(OperatorError):
    """Runs of tasks failed."""


class NoSchedulerError(OperatorError):
    """No scheduler sends what is due."""


def run_check(*, needs_scheduler: bool, role: str | None = None) -> int:
    """Print a line for each check, failures on standard error, and return 0 if all went well, else 1.

    Args:
        needs_scheduler: whether it is a failure that no scheduler lives.
        role: whose rights the user of Redis is to have; None: those of each role. That of a monitor uses Redis only.

    Raises:
        UnknownRoleError: there is no such role.
    """
    if role is not None and role not in list(Role):
        raise UnknownRoleError(f"--role {role!r} is none of {', '.join(Role)}")
    return asyncio.run(_run_all(needs_scheduler=needs_scheduler, role=None if role is None else Role(role)))


async def _run_all(*, needs_scheduler: bool, role: Role | None) -> int:
    try:
        app = application()
    except OperatorError as error:
        _fail("app", error)
        return 1
    # Each of the others is made whatever the rest says, so that one run shows all there is to mend.
    checks: dict[str, Check] = {"app": _app, "Redis": partial(_redis, role)}
    if role in (None, Role.WORKER):
        checks |= _checks_of_database(app)
    results = [await _run_one(name, partial(check, app)) for name, check in checks.items()]
    results.append(await _run_one("scheduler", partial(_scheduler, app), is_needed=needs_scheduler))
    if isinstance(app.broker, StreamBroker) and role in _SEE_RUNS:
        await _run_one("runs", partial(_runs, app), is_needed=False)
    await app.close()
    return 0 if all(results) else 1


def _checks_of_database(app: App) -> dict[str, Check]:
    checks: dict[str, Check] = {}
    if app.database is not None:
        checks |= {"PostgreSQL": _postgresql, "schema": _schema}
    if app.retention is not None:
        checks["retention"] = _retention
    return checks


async def _run_one(name: str, check: Callable[[], Awaitable[str]], *, is_needed: bool = True) -> bool:
    try:
        found = await check()
    except OperatorError as error:
        _fail(name, error, is_needed=is_needed)
        return not is_needed
    echo(f"ok      {name:10}  {shown(found)}")
    return True


def _fail(name: str, error: OperatorError, *, is_needed: bool = True) -> None:
    echo(f"{'FAILED' if is_needed else 'note':6}  {name:10}  {shown(str(error))}", err=is_needed)


async def _app(app: App) -> str:
    found = f"{len(app.broker.get_all_tasks())} tasks, {len(app.schedules)} schedules"
    if isinstance(app.broker, StreamBroker):
        found += f"; keys in Redis begin with {{{app.broker.keys.tag}}}"
    return found


async def _redis(role: Role | None, app: App) -> str:
    broker = app.broker
    if not isinstance(broker, StreamBroker):
        return f"not used: a {type(broker).__name__} runs tasks in the program that sends them"
    redis, address = broker.connections.async_client(timeout=_ANSWER_SECONDS), broker.connections.address
    try:
        version = await check_redis(redis, address)
        await check_rights(redis, broker.keys, address=address, role=role)
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis (REDIS_URL) went away while it was looked at: {reason(error)}") from None
    else:
        return version
    finally:
        await redis.aclose()


async def _postgresql(app: App) -> str:
    return await app.needs_database().version()


async def _schema(app: App) -> str:
    return await app.needs_database().check()


async def _retention(app: App) -> str:
    policies = app.needs_retention()
    try:
        await policies.check()
    except (DBAPIError, OSError):
        raise RetentionCheckError("cannot be checked without PostgreSQL and its schema") from None
    return f"{len(policies.all())} policies can be run"


async def _runs(app: App) -> str:
    async with stream_broker(app) as broker:
        stats = await read_recent_task_stats(broker.connection.redis, broker.keys)
    if failing := [one for one in stats if one.problems]:
        failing.sort(key=lambda one: -one.problems)
        raise FailingTasksError(
            "in the last one to two hours " + "; ".join(map(_shown_problems, failing[:_MOST_SHOWN]))
        )
    return f"{sum(one.started for one in stats)} in the last one to two hours, of which none failed"


def _shown_problems(one: TaskStats) -> str:
    how = ", ".join(f"{one.ended[outcome]} {outcome.value}" for outcome in PROBLEMS if outcome in one.ended)
    return f"{one.task or 'tasks that no worker knows'}: {how} of {sum(one.ended.values())} runs"


async def _scheduler(app: App) -> str:
    if not isinstance(app.broker, StreamBroker):
        raise NoSchedulerError("without Redis no process sees another's scheduler")
    async with stream_broker(app) as broker:
        heartbeats = await DurableScheduleSource(broker).store.heartbeats()
    if (problem := missing_scheduler(heartbeats)) is not None:
        raise NoSchedulerError(problem)
    return f"looked {shown_seconds(heartbeats.seconds_since_any or 0.0)} ago"
