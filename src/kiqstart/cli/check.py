"""`kiqstart check`: is all there that a worker needs?"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final

from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from kiqstart.broker.redis_retry import reason
from kiqstart.broker.rights import check_rights
from kiqstart.broker.roles import Role
from kiqstart.cli.broker import stream_broker
from kiqstart.cli.schedules.schedulers import missing_scheduler
from kiqstart.cli.schedules.wording import shown_seconds
from kiqstart.cli.terminal import echo, shown
from kiqstart.errors import OperatorError
from kiqstart.observability.logging import LogSettings
from kiqstart.redis.client import RedisUnavailableError, check_redis, create_redis
from kiqstart.redis.settings import RedisSettings
from kiqstart.retention.settings import RetentionSettings
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.settings import SettingsError, load_settings
from todo_service.delivery.tasks.policies import RetentionPolicies
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.delivery.tasks.rights import WORKER_RIGHTS
from todo_service.delivery.tasks.schedules import SCHEDULES
from todo_service.delivery.tasks.settings import TasksSettings
from todo_service.infrastructure.database.engine import create_engine
from todo_service.infrastructure.database.rights import MissingDatabaseRightsError
from todo_service.infrastructure.database.schema import SchemaOutOfDateError, check_schema, current_revisions
from todo_service.infrastructure.database.settings import DatabaseSettings
from todo_service.ioc.container import ContainerFactory


class RetentionCheckError(OperatorError):
    """The retention policies cannot be checked."""


class UnknownRoleError(OperatorError):
    """There is no such role."""


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
    if not await _run_one("settings", partial(_settings, role)):
        return 1
    # Each of the others is made whatever the rest says, so that one run shows all there is to mend.
    checks: dict[str, Callable[[], Awaitable[str]]] = {"Redis": partial(_redis, role)}
    if role not in _AT_A_TERMINAL:
        checks = {"wiring": _wiring, **checks}
    if role in (None, Role.WORKER):
        checks |= _OF_DATABASE
    results = [await _run_one(name, check) for name, check in checks.items()]
    results.append(await _run_one("scheduler", _scheduler, is_needed=needs_scheduler))
    return 0 if all(results) else 1


async def _run_one(name: str, check: Callable[[], Awaitable[str]], *, is_needed: bool = True) -> bool:
    try:
        found = await check()
    except OperatorError as error:
        echo(f"{'FAILED' if is_needed else 'note':6}  {name:10}  {shown(str(error))}", err=is_needed)
        return not is_needed
    echo(f"ok      {name:10}  {shown(found)}")
    return True


async def _settings(role: Role | None) -> str:
    wrong: list[str] = []
    of_database = () if role in _AT_A_TERMINAL else (DatabaseSettings, RetentionSettings)
    for settings in (RedisSettings, LogSettings, TasksSettings, *of_database):
        try:
            load_settings(settings)
        except SettingsError as error:
            wrong.append(str(error))
    if wrong:
        raise SettingsError("; ".join(wrong))
    return f"keys in Redis begin with {{{load_settings(TasksSettings).key_prefix}}}"


async def _wiring() -> str:
    tasks = ContainerFactory()().resolve(TasksRegistry).broker.get_all_tasks()
    return f"{len(tasks)} tasks, {len(SCHEDULES)} schedules"


async def _redis(role: Role | None) -> str:
    settings = load_settings(RedisSettings)
    if settings.is_in_memory:
        return "memory:// (tasks run in the program that sends them)"
    redis = create_redis(settings)
    try:
        version = await check_redis(redis, settings)
        await check_rights(redis, load_settings(TasksSettings).keys, address=settings.address, role=role)
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis (REDIS_URL) went away while it was looked at: {reason(error)}") from None
    else:
        return version
    finally:
        await redis.aclose()


async def _postgresql() -> str:
    async def version(engine: AsyncEngine) -> str:
        with suppress(SchemaOutOfDateError, MissingDatabaseRightsError):  # which are the next check's line
            await check_schema(engine)
        async with engine.connect() as connection:
            return str(await connection.scalar(text("SHOW server_version")))

    return await _on_database(version)


async def _schema() -> str:
    async def revision(engine: AsyncEngine) -> str:
        await check_schema(engine, WORKER_RIGHTS)
        async with engine.connect() as connection:
            return ", ".join(sorted(await current_revisions(connection)))

    return await _on_database(revision)


async def _retention() -> str:
    container = ContainerFactory()()
    try:
        await container.resolve(RetentionPolicies).check()
        return f"{len(container.resolve(RetentionPolicies).all())} policies can be run"
    except (DBAPIError, OSError):
        raise RetentionCheckError("cannot be checked without PostgreSQL and its schema") from None
    finally:
        await container.resolve(AsyncEngine).dispose()


async def _scheduler() -> str:
    if load_settings(RedisSettings).is_in_memory:
        raise NoSchedulerError("with memory:// no process sees another's scheduler")
    async with stream_broker() as broker:
        heartbeats = await DurableScheduleSource(broker).store.heartbeats()
    if (problem := missing_scheduler(heartbeats)) is not None:
        raise NoSchedulerError(problem)
    return f"looked {shown_seconds(heartbeats.seconds_since_any or 0.0)} ago"


async def _on_database(question: Callable[[AsyncEngine], Coroutine[Any, Any, str]]) -> str:
    engine = create_engine(load_settings(DatabaseSettings))
    try:
        return await question(engine)
    finally:
        await engine.dispose()


# Their commands run none of the service's code, and need no DATABASE_URL.
_AT_A_TERMINAL: Final = frozenset({Role.OPERATOR, Role.MONITOR})
_OF_DATABASE: Final[dict[str, Callable[[], Awaitable[str]]]] = {
    "PostgreSQL": _postgresql,
    "schema": _schema,
    "retention": _retention,
}
