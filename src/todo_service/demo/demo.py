"""The demo's story, from servers to the table of figures."""

import asyncio
import os
import time
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from taskiq import TaskiqScheduler

from kiqstart import load_settings
from kiqstart.broker import RedisSettings
from kiqstart.cli.servers import Servers, servers
from kiqstart.cli.signals import exit_on_signal, raise_swallowed_cancellation, run_until_signal
from kiqstart.scheduler import DurableScheduleSource
from todo_service.core.session.service import RefreshSessionService
from todo_service.core.todo.service import TodoService
from todo_service.core.user.service import UserService
from todo_service.demo.cleanups import Cleanups
from todo_service.demo.errors import DemoError
from todo_service.demo.schedules import demo_container
from todo_service.demo.screen import Screen
from todo_service.demo.seed import Plan, write_rows
from todo_service.demo.service import Service, in_process_service, process_service
from todo_service.demo.ticks import ticks_of
from todo_service.demo.workspace import own_database, own_keys
from todo_service.infrastructure.database.database import service_database
from todo_service.infrastructure.database.settings import DatabaseSettings
from todo_service.ioc.container import ServiceContainer

T = TypeVar("T")

_CHECKED = "[green]✓[/] checked against the database, to the row"


def run_demo(*, rows: int, picture: Path | None, dashboard: bool = False) -> None:
    """Show the tasks at work, and leave nothing behind.

    Args:
        rows: how many rows the clean-ups delete, among as many that stay.
        picture: where to write the last screen as an SVG.
        dashboard: whether it stays up at the end with a dashboard, until Ctrl-C.

    Raises:
        DemoError: what the tasks report is not what the database counts, or the demo cannot go on.
    """
    if picture is not None and not picture.parent.is_dir():
        raise DemoError(f"--svg: there is no folder {picture.parent}")
    with exit_on_signal(), servers(redis_required=False) as found:
        run_until_signal(_Demo(rows, found, has_dashboard=dashboard).run(picture))


class _Demo:
    def __init__(self, rows: int, found: Servers, *, has_dashboard: bool) -> None:
        self._rows = rows
        self._has_dashboard = has_dashboard
        self._at = ""
        self._servers = found
        self._redis = load_settings(RedisSettings)
        self._screen = Screen(title=f"[bold cyan]kiqstart demo[/]: {rows:,} rows to delete among {rows:,} to keep")

    async def run(self, picture: Path | None) -> None:
        # The process id tells whose it is, should it ever be left behind.
        name = f"kiqstart_demo_{os.getpid()}_{uuid4().hex[:8]}"
        prefix = name.replace("_", "-")
        os.environ |= {"TASKS_KEY_PREFIX": prefix, "LOG_LEVEL": "INFO"}
        async with AsyncExitStack() as stack:
            # Outermost, so that what stops at the end of the rest has stopped when the table is the last thing shown.
            stack.enter_context(self._screen.live())
            redis = None if self._redis.is_in_memory else await stack.enter_async_context(own_keys(self._redis, prefix))
            database = own_database(load_settings(DatabaseSettings), name)
            os.environ["DATABASE_URL"] = await stack.enter_async_context(database)
            container = demo_container()
            await self._show(container, redis)
        if picture is not None:
            self._screen.save_picture(picture)

    async def _show(self, container: ServiceContainer, redis: str | None) -> None:
        engine = container.resolve(AsyncEngine)
        await service_database(engine).upgrade()
        async with container.running() as registry, self._service(container) as service:
            raise_swallowed_cancellation()
            await self._introduce(engine, redis)
            await service.start_worker()
            if self._has_dashboard:
                address, password = await _unless_failing(service, service.start_dashboard())
                self._at = f"The dashboard is at [bold]{address}[/], its password is [bold]{password}[/]."
                self._screen.step(self._at)
            await self._write_rows(engine)
            await self._visit(container)
            sources = container.resolve(TaskiqScheduler).sources
            [schedules] = [one.schedules for one in sources if isinstance(one, DurableScheduleSource)]
            cleanups = Cleanups(registry=registry, engine=engine, screen=self._screen, ticks=ticks_of(schedules))
            figures = await _unless_failing(service, cleanups.by_hand())
            await service.start_scheduler()
            figures.append(await _unless_failing(service, cleanups.by_scheduler()))
            for one in figures:
                one.check()
            if self._has_dashboard:
                self._screen.end(figures, _CHECKED, self._at, "Ctrl-C ends it.")
                await service.fail()
        self._screen.end(figures, _CHECKED, *self._closing())

    def _service(self, container: ServiceContainer) -> AbstractAsyncContextManager[Service]:
        if self._redis.is_in_memory:
            return in_process_service(container.resolve(TaskiqScheduler))
        return process_service()

    async def _introduce(self, engine: AsyncEngine, redis: str | None) -> None:
        async with engine.connect() as connection:
            version = str(await connection.scalar(text("SHOW server_version"))).split()[0]
        self._screen.step(f"PostgreSQL {version}, with a database of the demo's own")
        if redis is None:
            self._screen.step("no Redis: taskiq's InMemoryBroker runs the tasks in this process, nothing is durable")
        else:
            self._screen.step(f"{redis}, with a real worker and a real scheduler")

    async def _write_rows(self, engine: AsyncEngine) -> None:
        plan, start = Plan.of(self._rows), time.monotonic()
        bar = self._screen.bar("rows written", plan.sessions + plan.todos)
        await write_rows(engine, plan, lambda rows: self._screen.advance(bar, completed=rows))
        self._screen.step(
            f"{plan.users:,} users, {plan.sessions:,} refresh sessions, {plan.todos:,} todos written "
            f"in {time.monotonic() - start:.1f} s"
        )

    async def _visit(self, container: ServiceContainer) -> None:
        # As an application would: the rows that the tasks delete begin like this.
        sessions, todos = container.resolve(RefreshSessionService), container.resolve(TodoService)
        user = await container.resolve(UserService).create(username="ada", email="ada@example.com")
        login = await sessions.create(user_id=user.id, user_agent="kiqstart demo", ip_address="192.0.2.1")
        await sessions.rotate(login.refresh_token)
        await todos.complete((await todos.create(user_id=user.id, title="See the demo")).id)
        self._screen.step("through the services: ada logs in, refreshes her session, completes a todo")

    def _closing(self) -> list[str]:
        if self._servers.redis_missing:
            return [f"Tasks ran without Redis. {self._servers.redis_missing}"]
        return [
            "Next: [bold]make up[/] runs everything until Ctrl-C, [bold]make shell[/] sends tasks by hand.",
            "[bold]make demo DASHBOARD=1[/] stays up at the end, and says where its dashboard is.",
            "README.md shows how to add a task in four edits.",
        ]


async def _unless_failing(service: Service, story: Coroutine[Any, Any, T]) -> T:
    """Await `story`, unless worker or scheduler end before it."""
    told, failing = asyncio.ensure_future(story), asyncio.ensure_future(service.fail())
    try:
        await asyncio.wait({told, failing}, return_when=asyncio.FIRST_COMPLETED)
        return told.result() if told.done() else failing.result()
    finally:
        told.cancel()
        failing.cancel()
        await asyncio.wait({told, failing})
