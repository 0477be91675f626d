"""`kiqstart check`: is all there that a worker needs?"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from redis.exceptions import RedisError

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
    check_workers,
)
from kiqstart.operations.clean_ups import check_clean_ups
from kiqstart.operations.database_checks import (
    RetentionCheckError,
    check_postgresql,
    check_retention,
    check_schema,
)
from kiqstart.operations.numbers import counted
from kiqstart.redis.client import RedisUnavailableError, check_redis

_ANSWER_SECONDS: Final = 5.0
_SEE_RUNS: Final = (None, Role.OPERATOR, Role.MONITOR)
_RUNNING: Final[Mapping[str, Callable[[StreamBroker], Awaitable[str]]]] = {
    "schedules": check_schedules,
    "queues": check_queues,
    "workers": check_workers,
    "paused": check_paused,
    "runs": check_runs,
}
_REDIS: Final = "Redis"
_POSTGRESQL: Final = "PostgreSQL"
_SERVERS: Final = (_REDIS, _POSTGRESQL)
# What is raised where a check cannot be made, for something else is wrong.
_CONSEQUENCES: Final = (RedisUnavailableError, RetentionCheckError)
_MARKS: Final = {"failed": "FAILED", "skipped": "skip"}


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
        self._failed: set[str] = set()
        self._unusable: set[str] = set()
        self.has_failed = False

    async def look(
        self, name: str, check: Callable[[], Awaitable[str]], *, is_needed: bool = True, needs: Sequence[str] = ()
    ) -> None:
        """Make a check.

        Args:
            name: what is looked at.
            check: looks at it.
            is_needed: whether it is a failure if that is not as it must be.
            needs: checks that say what is wrong where this one cannot be made; if they found that a server cannot be
                used, this one is not made.
        """
        if away := self._unusable.intersection(needs):
            self._skip(name, f"not looked at, since {away.pop()} cannot be used", is_needed=is_needed)
            return
        try:
            self._add(name, "ok", await check())
        except _CONSEQUENCES as error:
            if causes := self._failed.intersection(needs):
                self._skip(name, f"not looked at: see {causes.pop()}", is_needed=is_needed)
                return
            self.fail(name, error, is_needed=is_needed)
            self._unusable |= {name, *needs}.intersection(_SERVERS)
        except OperatorError as error:
            self.fail(name, error, is_needed=is_needed)
            if name == _POSTGRESQL:
                self._unusable.add(name)

    def fail(self, name: str, error: OperatorError, *, is_needed: bool = True) -> None:
        """Note what is wrong."""
        self.has_failed |= is_needed
        self._failed.add(name)
        self._add(name, "failed" if is_needed else "note", str(error))

    def finish(self) -> int:
        """Print what has not been printed yet; gives the exit code."""
        if self._as_json:
            echo_json({"is_ok": not self.has_failed, "checks": self._found})
        return int(self.has_failed)

    def _skip(self, name: str, why: str, *, is_needed: bool) -> None:
        """A cause is said once; that what is needed cannot be seen is still a failure."""
        self.has_failed |= is_needed
        self._add(name, "skipped", why)

    def _add(self, name: str, state: str, text: str) -> None:
        if self._as_json:
            self._found.append({"name": name, "state": state, "text": text})
        else:
            echo(f"{_MARKS.get(state, state):6}  {name:10}  {shown(text)}", err=state == "failed")


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
    await findings.look("app", partial(_app, app))
    await findings.look(_REDIS, partial(_redis, role, app))
    if role in (None, Role.WORKER):
        await _look_at_database(findings, app)
    await findings.look("scheduler", partial(_scheduler, app), is_needed=needs_scheduler, needs=[_REDIS])
    if isinstance(app.broker, StreamBroker) and role in _SEE_RUNS:
        for name, check in _RUNNING.items():
            await findings.look(name, partial(_running, check, app), is_needed=False, needs=[_REDIS])
        if app.retention is not None:
            # Other roles than all together use Redis only.
            stale = partial(check_clean_ups, retention=app.retention, sees_postgresql=role is None)
            await findings.look("clean-ups", partial(_running, stale, app), is_needed=False, needs=[_REDIS])
    await app.close()
    return findings.finish()


async def _look_at_database(findings: Findings, app: App) -> None:
    if app.database is not None:
        await findings.look(_POSTGRESQL, partial(check_postgresql, app))
        await findings.look("schema", partial(check_schema, app), needs=[_POSTGRESQL])
    if app.retention is not None:
        await findings.look("retention", partial(check_retention, app), needs=[_POSTGRESQL, "schema"])


async def _app(app: App) -> str:
    found = f"{counted(len(app.broker.get_all_tasks()), 'task')}, {counted(len(app.schedules), 'schedule')}"
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


async def _scheduler(app: App) -> str:
    if not isinstance(app.broker, StreamBroker):
        raise NoSchedulerError("without Redis no process sees another's scheduler")
    return await _running(check_scheduler, app)


async def _running(check: Callable[[StreamBroker], Awaitable[str]], app: App) -> str:
    async with stream_broker(app) as broker:
        return await check(broker)
