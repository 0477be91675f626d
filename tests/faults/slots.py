"""Places for worker groups, and what can befall a place."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Final

from tests.faults.programs import ReceiverKind
from tests.faults.workers import WorkerGroup, wait_until_exited
from tests.faults.world import World

_PROCESSES: Final = 2
_GRACE: Final = 5.0
_SECONDS_TO_END: Final = 25.0
_LONGEST_GAP: Final = 6.0
_LONGEST_FREEZE: Final = 12.0


@dataclass(kw_only=True)
class Slot:
    """A place that a group of workers always returns to.

    Args:
        url: how its workers reach Redis; None: without a detour.
        receiver: what they run.
        dice: decides how long things take.
    """

    world: World
    url: str | None
    receiver: ReceiverKind
    dice: random.Random
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _group: WorkerGroup | None = None

    @property
    def group(self) -> WorkerGroup:
        """The workers that are there now."""
        assert self._group is not None
        return self._group

    async def fill(self) -> None:
        """Start workers there, and wait until they are up."""
        self._group = await self.world.workers(processes=_PROCESSES, grace=_GRACE, url=self.url, receiver=self.receiver)

    async def kill_worker(self) -> None:
        """`kill -9` one process; the group starts another."""
        fault = self.group.kill_worker()
        assert fault.pid is not None
        await wait_until_exited(fault.pid, within=_SECONDS_TO_END)
        await self.group.wait_until_ready(_PROCESSES)

    async def kill(self) -> None:
        """`kill -9` the group, and start another some time later."""
        self.group.kill()
        await asyncio.sleep(self.dice.uniform(0.0, _LONGEST_GAP))
        await self.fill()

    async def kill_manager(self) -> None:
        """`kill -9` the process manager, and start another group once its workers have ended."""
        self.group.kill_manager()
        await self._wait_until_gone(self.group)
        await self.fill()

    async def restart(self) -> None:
        """SIGTERM, and another group after."""
        self.group.terminate()
        await self._wait_until_gone(self.group)
        await self.fill()

    async def deploy(self) -> None:
        """Start another group, then SIGTERM."""
        old = self.group
        await self.fill()
        old.terminate()
        await self._wait_until_gone(old)

    async def freeze(self) -> None:
        """Freeze the group, perhaps past its lease."""
        with self.group.frozen():
            await asyncio.sleep(self.dice.uniform(1.0, _LONGEST_FREEZE))

    async def _wait_until_gone(self, group: WorkerGroup) -> None:
        try:
            await group.wait_until_gone(within=_SECONDS_TO_END)
        except TimeoutError:
            self.world.problems.append(f"the workers of {group.pid} did not end within {_SECONDS_TO_END:g} s")
            group.kill()
