"""The scheduler's ticks, as they stand in the logs."""

import asyncio

from todo_service.demo.log_lines import Sent, Started, read_line
from todo_service.demo.screen import Screen, Tick


class TickWatcher:
    """Reads log lines, shows each tick, and hands on the tasks that the worker begins for them."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._by_hand: set[str] = set()
        self._started: asyncio.Queue[Started] = asyncio.Queue()
        self._without_outcome: list[Tick] = []

    def ignore(self, task_id: str) -> None:
        """Leave out a task that was sent by hand."""
        self._by_hand.add(task_id)

    def take(self, line: str) -> None:
        """Read a line of worker or scheduler."""
        match read_line(line):
            case Sent() as sent:
                tick = Tick(time=sent.time.removesuffix("Z").partition("T")[2], task=sent.task)
                self._without_outcome.append(tick)
                self._screen.tick(tick)
            case Started() as started:
                self._started.put_nowait(started)
            case _:
                pass

    async def next_started(self) -> Started:
        """Wait until the worker begins a task that the scheduler sent."""
        # Looked up only here: the worker may begin a task before its sender knows the id.
        while (started := await self._started.get()).task_id in self._by_hand:
            pass
        return started

    def set_outcome(self, task: str, outcome: str) -> None:
        """Show what came of the oldest tick of a task that has no outcome yet."""
        tick = next((tick for tick in self._without_outcome if tick.task == task), None)
        if tick is not None:
            self._without_outcome.remove(tick)
            tick.outcome = outcome
