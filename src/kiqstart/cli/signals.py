"""Ctrl-C and the other requests to end."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_Handler = Callable[[int, FrameType | None], object] | signal.Handlers


@contextmanager
def exit_on_signal() -> Generator[None]:
    """Around all that a command does: let SIGINT, SIGTERM and SIGHUP unwind it, so that clean-ups run.

    The exit code is 128 + the signal's number. The first signal counts; later ones are ignored, and so is any at the
    end of the block, where the program ends anyway.
    """
    _handle(_exit)
    try:
        yield
    finally:
        _handle(signal.SIG_IGN)


def run_until_signal(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; a signal cancels it. Call it within `exit_on_signal`.

    Its clean-up runs undisturbed, so it must be bounded in time.

    Raises:
        SystemExit: 128 + the signal's number, once the cancelled coroutine has ended.
    """
    return asyncio.run(_until_signal(main))


def raise_swallowed_cancellation() -> None:
    """Raise the cancellation that this task was sent but never got.

    On Python 3.11, `asyncio.wait_for`, and with it redis-py, returns its result instead of being cancelled where both
    come at once. Call it after talking to Redis, at least once in a loop.

    Raises:
        asyncio.CancelledError: this task was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _until_signal(main: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(main)
    received: list[int] = []

    def cancel(number: int, _: FrameType | None) -> None:
        _handle(signal.SIG_IGN)
        received.append(number)
        loop.call_soon_threadsafe(task.cancel)

    _handle(cancel)
    await asyncio.wait({task})
    if not received:
        _handle(_exit)
    elif task.cancelled():
        raise SystemExit(128 + received[0])
    return task.result()


def _exit(number: int, _: FrameType | None) -> NoReturn:
    _handle(signal.SIG_IGN)
    raise SystemExit(128 + number)


def _handle(handler: _Handler) -> None:
    for number in _ENDING:
        # `nohup` starts a program with SIGHUP ignored.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
