"""What each event loop has one of, as a thread has its thread-local data."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from kiqstart.processes.forks import is_forked, tell_of_forks
from kiqstart.redis.forks import close_sockets_of

Resource = TypeVar("Resource")


@dataclass(frozen=True, slots=True, eq=False)
class _Held(Generic[Resource]):
    resource: Resource
    ending: AsyncGenerator[None, None]


async def _close_nothing(_: object) -> None:
    """For what needs no closing."""


class InheritedLoopError(RuntimeError):
    """A forked child goes on with its parent's event loop, which cannot be shared."""

    def __init__(self) -> None:
        super().__init__(
            "this process was forked, its event loop is its parent's: begin one of its own, as asyncio.run() does"
        )


def running_loop() -> asyncio.AbstractEventLoop:
    """The running event loop.

    Raises:
        InheritedLoopError: a coroutine has forked this process: asyncio lets no loop run on in the child.
        RuntimeError: no event loop is running.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        if is_forked():
            raise InheritedLoopError from None
        raise


class LoopLocal(Generic[Resource]):
    """Makes a resource for each event loop that asks for one, and closes it when the loop ends.

    A loop ends with `loop.shutdown_asyncgens()`, which `asyncio.run`, asgiref and pytest-asyncio call. If it is closed
    without, its sockets are closed once another loop asks. A forked child makes its own, also in its parent's loop if
    that is asyncio's: uvloop's would share more with the parent than sockets, and both would crash.

    Args:
        make: makes one, in the running event loop.
        close: lets one go, in its event loop.
    """

    def __init__(
        self, make: Callable[[], Resource], close: Callable[[Resource], Awaitable[None]] = _close_nothing
    ) -> None:
        self._make = make
        self._close = close
        self._held: dict[asyncio.AbstractEventLoop, _Held[Resource]] = {}
        self._inherited: dict[asyncio.AbstractEventLoop, _Held[Resource]] = {}
        tell_of_forks(self)

    def __len__(self) -> int:
        return len(self._held)

    def get(self) -> Resource:
        """The running event loop's resource.

        Raises:
            RuntimeError: no event loop is running.
            InheritedLoopError: this is a forked child in its parent's loop, which is uvloop's or was running.
        """
        loop = running_loop()
        held = self._held.get(loop)
        return held.resource if held is not None else self._make_for(loop)

    def peek(self) -> Resource | None:
        """What the running event loop has, if it has asked."""
        held = self._held.get(running_loop())
        return None if held is None else held.resource

    async def close(self) -> None:
        """Let go what the running event loop has; it may ask for another one."""
        held = self._held.pop(running_loop(), None)
        if held is not None:
            await held.ending.aclose()

    def after_fork(self) -> None:
        """Begin with nothing; what the parent has stays as it is."""
        self._inherited |= self._held
        self._held = {}

    def _make_for(self, loop: asyncio.AbstractEventLoop) -> Resource:
        for other in [one for one in list(self._held) if one.is_closed()]:
            if self._held.pop(other, None) is not None:
                close_sockets_of(other)
        if loop in self._inherited and not isinstance(loop, asyncio.BaseEventLoop):
            raise InheritedLoopError
        resource = self._make()
        ending = self._until_the_loop_ends(loop, resource)
        # The loop learns of a generator when it begins, and ends it at its own end.
        with suppress(StopIteration):
            ending.__anext__().send(None)
        self._held[loop] = _Held(resource, ending)
        return resource

    async def _until_the_loop_ends(
        self, loop: asyncio.AbstractEventLoop, resource: Resource
    ) -> AsyncGenerator[None, None]:
        process = os.getpid()
        try:
            yield
        finally:
            if process == os.getpid():
                self._held.pop(loop, None)
                await self._close(resource)
