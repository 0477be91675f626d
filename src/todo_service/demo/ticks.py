"""The scheduler's ticks, as they stand in its log."""

import asyncio

from todo_service.demo.log_lines import Sent, read_line
from todo_service.demo.screen import Screen, Tick


class TickWatcher:
    """Reads log lines, shows each tick, and hands on the tasks that were sent."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._sent: asyncio.Queue[Sent] = asyncio.Queue()
        self._without_outcome: list[Tick] = []

    def take(self, line: str) -> None:
        """Read a line of worker or scheduler."""
        sent = read_line(line)
        if sent is None:
            return
        tick = Tick(time=sent.time.removesuffix("Z").partition("T")[2], task=sent.task)
        self._without_outcome.append(tick)
        self._screen.tick(tick)
        self._sent.put_nowait(sent)

    async def next_sent(self) -> Sent:
        """Wait until the scheduler has sent a task."""
        return await self._sent.get()

    def set_outcome(self, task: str, outcome: str) -> None:
        """Show what came of the oldest tick of a task that has no outcome yet."""
        tick = next((tick for tick in self._without_outcome if tick.task == task), None)
        if tick is not None:
            self._without_outcome.remove(tick)
            tick.outcome = outcome
