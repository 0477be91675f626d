"""Ctrl-C and the other requests to end."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")

ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signal_handler(handler: Callable[[int, FrameType | None], object], *numbers: signal.Signals) -> Generator[None]:
    """Handle signals within the `with` block; an ignored SIGHUP stays ignored, as `nohup` wants it."""
    handled = [n for n in numbers if n is not signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]
    previous = [(number, signal.signal(number, handler)) for number in handled]
    try:
        yield
    finally:
        for number, handler_before in previous:
            signal.signal(number, handler_before)


@contextmanager
def exit_on_signal() -> Generator[None]:
    """Let SIGINT, SIGTERM and SIGHUP unwind the program to exit code 128 + number, so that clean-ups run."""
    with signal_handler(_exit, *ENDING_SIGNALS):
        yield


def run_until_signal(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; the first SIGINT, SIGTERM or SIGHUP cancels it.

    Further signals change nothing, so its clean-up runs undisturbed and must be bounded in time.

    Raises:
        SystemExit: 128 + the signal's number, once the cancelled coroutine has ended.
    """
    return asyncio.run(_until_signal(main))


async def _until_signal(main: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(main)
    received: list[int] = []

    def cancel_once(number: int, _: FrameType | None) -> None:
        if not received:
            loop.call_soon_threadsafe(task.cancel)
        received.append(number)

    with signal_handler(cancel_once, *ENDING_SIGNALS):
        await asyncio.wait({task})
    if task.cancelled() and received:
        _exit(received[0], None)
    return task.result()


def _exit(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
