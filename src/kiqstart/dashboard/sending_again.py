"""Sending many tasks again, each of which may be refused by itself."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from kiqstart.broker.dead_letter import DeadLetterError
from kiqstart.broker.run_resender import RunNotResentError

Sent = TypeVar("Sent")


async def send_each_again(
    chosen: Sequence[Sent], send: Callable[[Sent], Awaitable[object]], what: str
) -> tuple[int, str]:
    """Send each; gives how many were, and in words how many were not, and why the first of them."""
    problems: list[str] = []
    for one in chosen:
        try:
            await send(one)
        except (DeadLetterError, RunNotResentError) as error:
            problems.append(str(error))
    done = len(chosen) - len(problems)
    return done, f"{done} {what} are sent again" + (f"; {len(problems)} are not: {problems[0]}" if problems else "")
