"""The clean-ups that the demo shows: two by hand, one by the scheduler."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from rich.progress import TaskID
from sqlalchemy.ext.asyncio import AsyncEngine
from taskiq import AsyncResultBackend, AsyncTaskiqTask, TaskiqResult
from taskiq.depends.progress_tracker import TaskProgress

from kiqstart import CleanupProgress
from kiqstart.cli.signals import raise_swallowed_cancellation
from todo_service.delivery.tasks.controllers.ping import PingResult
from todo_service.delivery.tasks.controllers.session_cleanup import SessionCleanupResult
from todo_service.delivery.tasks.names import TaskName
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.demo.errors import DemoError
from todo_service.demo.figures import Figures, count_rows
from todo_service.demo.screen import Screen, Tick

R = TypeVar("R")

_POLL_SECONDS: Final = 0.1
_SECONDS_WITHOUT_PROGRESS: Final = 60.0
_SHOWN_PINGS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Cleanups:
    """Sends clean-ups, follows their progress, and counts in the database before and after."""

    registry: TasksRegistry
    engine: AsyncEngine
    screen: Screen
    ticks: AsyncIterator[Tick]

    async def by_hand(self) -> list[Figures]:
        """Send both through the registry; the worker runs them at the same time.

        Raises:
            DemoError: one failed, came to a standstill, or reports something else than the database counts.
        """
        before = await count_rows(self.engine)
        sessions = await self.registry.session_cleanup.kiq(days_old=30)
        todos = await self.registry.todo_cleanup.kiq()
        session_result, todo_result = await asyncio.gather(
            self._follow(
                sessions, self.screen.bar("by hand: session_cleanup.kiq(days_old=30)", before.sessions_expired_long_ago)
            ),
            self._follow(todos, self.screen.bar("by hand: todo_cleanup.kiq()", before.todos_completed_by_active_users)),
        )
        after = await count_rows(self.engine)
        if todo_result.return_value["errors"] or todo_result.return_value["users_processed"] != before.active_users:
            raise DemoError(f"{TaskName.TODO_CLEANUP} reports {todo_result.return_value}: please report this")
        return [
            Figures(
                title="sessions, by hand",
                found=before.sessions_expired_long_ago,
                deleted=session_result.return_value["deleted_count"],
                before=before.sessions,
                kept=after.sessions,
                left=after.sessions_expired_long_ago,
                seconds=session_result.execution_time,
            ),
            Figures(
                title="todos, by hand",
                found=before.todos_completed_by_active_users,
                deleted=todo_result.return_value["todos_deleted"],
                before=before.todos,
                kept=after.todos,
                left=after.todos_completed_by_active_users,
                seconds=todo_result.execution_time,
            ),
        ]

    async def by_scheduler(self) -> Figures:
        """Follow the first clean-up of sessions that the scheduler sends, and some pings.

        Raises:
            DemoError: none was sent within a minute, or as for those by hand.
        """
        before = await count_rows(self.engine)
        bar = self.screen.bar("scheduled: session.cleanup, days_old=0", before.sessions_expired)
        result: TaskiqResult[SessionCleanupResult] | None = None
        pings = 0
        while result is None or pings < _SHOWN_PINGS:
            tick = await self._next_tick()
            if tick.task == TaskName.PING:
                ping = await self._follow(self._task(tick, PingResult))
                tick.outcome = ping.return_value["result"]
                pings += 1
            elif result is None:
                result = await self._follow(self._task(tick, SessionCleanupResult), bar)
                tick.outcome = f"{result.return_value['deleted_count']:,} sessions deleted"
        after = await count_rows(self.engine)
        return Figures(
            title="sessions, by the scheduler",
            found=before.sessions_expired,
            deleted=result.return_value["deleted_count"],
            before=before.sessions,
            kept=after.sessions,
            left=after.sessions_expired,
            seconds=result.execution_time,
        )

    def _task(self, tick: Tick, result: type[R]) -> AsyncTaskiqTask[R]:
        backend: AsyncResultBackend[Any] = self.registry.broker.result_backend
        return AsyncTaskiqTask(tick.task_id, backend, result)

    async def _next_tick(self) -> Tick:
        try:
            async with asyncio.timeout(_SECONDS_WITHOUT_PROGRESS):
                tick = await anext(self.ticks)
        except TimeoutError:
            raise DemoError(f"the scheduler has sent nothing in {_SECONDS_WITHOUT_PROGRESS:.0f} s") from None
        self.screen.tick(tick)
        return tick

    async def _follow(self, task: AsyncTaskiqTask[R], bar: TaskID | None = None) -> TaskiqResult[R]:
        last: object = None
        deadline = time.monotonic() + _SECONDS_WITHOUT_PROGRESS
        while not await task.is_ready():
            progress = await task.get_progress()
            raise_swallowed_cancellation()
            if progress != last:
                last, deadline = progress, time.monotonic() + _SECONDS_WITHOUT_PROGRESS
                self._advance(bar, progress)
            if time.monotonic() > deadline:
                raise DemoError(f"a task has made no progress for {_SECONDS_WITHOUT_PROGRESS:.0f} s")
            await asyncio.sleep(_POLL_SECONDS)
        self._advance(bar, await task.get_progress())
        result = await task.get_result()
        if result.error is not None:
            raise DemoError(f"a task failed: {type(result.error).__name__}: {result.error}")
        return result

    def _advance(self, bar: TaskID | None, progress: TaskProgress[CleanupProgress] | None) -> None:
        if bar is not None and progress is not None and progress.meta is not None:
            self.screen.advance(bar, completed=progress.meta["deleted"])
