"""What happens inside a process of a pool."""

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

_PR_SET_PDEATHSIG: Final = 1


class RemoteTracebackError(Exception):
    """Where in a process of the pool an error was raised, as text: a traceback cannot travel."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class UnpicklableError(Exception):
    """A task's error that cannot be brought out of the pool's process: its class and text."""


def prepare(further: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    """Set up a process of a pool; `further` is what its maker wants to be called in it."""
    # A terminal and a service manager signal the whole group: running functions may end all the same. The handlers of
    # a forked process are its worker's, and its wake-up descriptor wakes the worker. What it executes gets the default.
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stay)
    end_with_worker()
    if further is not None:
        further(*arguments)


def end_with_worker() -> None:
    """Let this process end when the worker that has started it does, however that ends."""
    worker = multiprocessing.parent_process()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if worker is not None:
        threading.Thread(target=_follow, args=(worker,), name="follow-worker", daemon=True).start()


def run_pickled(target: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object]) -> bytes:
    """Call a function: its pickled result, or the error that it has raised. What this returns can be unpickled.

    An error whose class cannot be unpickled would take the whole pool for dead, were it left to `concurrent.futures`.
    """
    try:
        return pickle.dumps((True, target(*args, **kwargs)))
    except BaseException as error:  # noqa: BLE001  # it is the task's result
        return _pickled_error(error)


def unpickled(reply: bytes) -> object:
    """The result of a function, from what `run_pickled` has returned.

    Raises:
        BaseException: what the function has raised.
    """
    is_result, value = cast("tuple[bool, object]", pickle.loads(reply))  # noqa: S301  # from a process of our own
    if is_result:
        return value
    error, text = cast("tuple[BaseException, str]", value)
    raise error from RemoteTracebackError(text)


def _pickled_error(error: BaseException) -> bytes:
    text = "".join(traceback.format_exception(error))
    try:
        pickled = pickle.dumps((False, (error, text)))
        pickle.loads(pickled)  # noqa: S301  # made in the line above
    except Exception:  # noqa: BLE001  # whatever a class raises
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        return pickle.dumps((False, (UnpicklableError(f"{kind}: {error}"), text)))
    return pickled


def _stay(_number: int, _frame: object) -> None:
    """Take no notice of a signal, but let what is executed from here have its default."""


def _follow(worker: "BaseProcess") -> None:
    worker.join()
    os._exit(1)
