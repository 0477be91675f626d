"""Waiting for something that no event announces."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

_POLL_SECONDS: Final = 0.02


async def eventually(condition: Callable[[], Awaitable[bool]], *, within: float = 60.0) -> None:
    """Ask again and again until the condition holds.

    Raises:
        TimeoutError: it does not hold `within` so many seconds.
    """
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(_POLL_SECONDS)
