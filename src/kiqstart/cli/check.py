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
from kiqstart.cli.application import application, stream_broker
from kiqstart.cli.terminal import echo, echo_json, shown
from kiqstart.errors import OperatorError
from kiqstart.operations.checks import (
    NoSchedulerError,
    check_paused,
    check_queues,
    check_runs,
    check_scheduler,
    check_schedules,
)
from kiqstart.redis.client import RedisUnavailableError, check_redis

Check = Callable[[App], Awaitable[str]]

_ANSWER_SECONDS: Final = 5.0
_SEE_RUNS: Final = (None, Role.OPERATOR, Role.MONITOR)


class RetentionCheckError(OperatorError):
    """The retention policies cannot be checked."""


class UnknownRoleError(OperatorError):
    """There is no such role."""


class Findings:
    """What the checks have found, in a line each: printed at once, or together as JSON.

    Args:
        as_json: whether they are kept for that.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._found: list[dict[str, str]] = []
        self.has_failed = False

    async def look(self, name: str, check: Callable[[], Awaitable[str]], *, is_needed: bool = True) -> None:
        """Make a check; it is a failure only if what it looks for `is_needed`."""
        try:
            self._add(name, "ok", await check())
        except OperatorError as error:
            self.fail(name, error, is_needed=is_needed)

    def fail(self, name: str, error: OperatorError, *, is_needed: bool = True) -> None:
        """Note what is wrong."""
        self.has_failed |= is_needed
        self._add(name, "failed" if is_needed else "note", str(error))

    def finish(self) -> int:
        """Print what has not been printed yet; gives the exit code."""
        if self._as_json:
            echo_json({"is_ok": not self.has_failed, "checks": self._found})
        return int(self.has_failed)

    def _add(self, name: str, state: str, text: str) -> None:
        if self._as_json:
            self._found.append({"name": name, "state": state, "text": text})
        else:
            is_failure = state == "failed"
            echo(f"{'FAILED' if is_failure else state:6}  {name:10}  {shown(text)}", err=is_failure)


def run_check(*, needs_scheduler: bool, role: str | None = None, as_json: bool = False) -> int:
    """Print a line for each check, failures on standard error, and return 0 if all went well, else 1.

    Args:
        needs_scheduler: whether it is a failure that no scheduler lives.
        role: whose rights the user of Redis is to have; None: those of each role. That of a monitor uses Redis only.
        as_json: whether all is printed together as JSON, failures too.

    Raises:
        UnknownRoleError: there is no such role.
    """
    if role is not None and role not in list(Role):
        raise UnknownRoleError(f"--role {role!r} is none of {', '.join(Role)}")
    return asyncio.run(
        _run_all(
            Findings(as_json=as_json),
            needs_scheduler=needs_scheduler,
            role=None if role is None else Role(role),
        )
    )


async def _run_all(findings: Findings, *, needs_scheduler: bool, role: Role | None) -> int:
    try:
        app = application()
    except OperatorError as error:
        findings.fail("app", error)
        return findings.finish()
    # Each of the others is made whatever the rest says, so that one run shows all there is to mend.
    checks: dict[str, Check] = {"app": _app, "Redis": partial(_redis, role)}
    if role in (None, Role.WORKER):
        checks |= _checks_of_database(app)
    for name, check in checks.items():
        await findings.look(name, partial(check, app))
    await findings.look("scheduler", partial(_scheduler, app), is_needed=needs_scheduler)
    if isinstance(app.broker, StreamBroker) and role in _SEE_RUNS:
        await findings.look("schedules", partial(_running, check_schedules, app), is_needed=False)
        await findings.look("queues", partial(_running, check_queues, app), is_needed=False)
        await findings.look("paused", partial(_running, check_paused, app), is_needed=False)
        await findings.look("runs", partial(_running, check_runs, app), is_needed=False)
    await app.close()
    return findings.finish()


def _checks_of_database(app: App) -> dict[str, Check]:
    checks: dict[str, Check] = {}
    if app.database is not None:
        checks |= {"PostgreSQL": _postgresql, "schema": _schema}
    if app.retention is not None:
        checks["retention"] = _retention
    return checks


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


async def _scheduler(app: App) -> str:
    if not isinstance(app.broker, StreamBroker):
        raise NoSchedulerError("without Redis no process sees another's scheduler")
    return await _running(check_scheduler, app)


async def _running(check: Callable[[StreamBroker], Awaitable[str]], app: App) -> str:
    async with stream_broker(app) as broker:
        return await check(broker)
