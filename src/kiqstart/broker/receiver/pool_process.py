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
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from kiqstart.broker.receiver.pool_progress import PooledRun
from kiqstart.tasks.exact_json import as_plain
from kiqstart.tasks.results.error_decoding import decode_error
from kiqstart.tasks.results.error_encoding import encode_error, text_of
from kiqstart.tasks.results.error_taming import tamed
from kiqstart.tasks.results.errors import UnserializableResultError
from kiqstart.tasks.results.plain_values import class_name, is_a
from kiqstart.tasks.results.result_encoding import unserializable

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

_PR_SET_PDEATHSIG: Final = 1


class RemoteTracebackError(Exception):
    """Where in a process of the pool an error was raised, as text: a traceback cannot travel."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a function has come to.

    Args:
        value: what it has returned or raised, pickled.
        kind: the class of what it has returned.
        error: what it has raised, for where `value` cannot be unpickled.
        traceback: of that error.
    """

    value: bytes
    kind: str = ""
    error: Mapping[str, object] | None = None
    traceback: str = ""


_pipe: "Connection | None" = None


def prepare(further: Callable[..., object] | None, arguments: tuple[Any, ...], writer: "Connection") -> None:
    """Set up a process of a pool; `further` is what its maker wants to be called in it."""
    global _pipe  # noqa: PLW0603  # a process has one
    _pipe = writer
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


def run_pickled(number: int, target: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object]) -> bytes:
    """Call a function; gives a `Reply`, pickled, which can always be unpickled. It reports its progress by a number.

    An error whose class cannot be unpickled would take the whole pool for dead, were it left to `concurrent.futures`.
    """
    try:
        with nullcontext() if _pipe is None else PooledRun(_pipe, number):
            returned: object = target(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001  # it is the task's result
        return _reply_of_error(error)
    try:
        return pickle.dumps(Reply(value=pickle.dumps(returned), kind=class_name(type(returned))))
    except BaseException:  # noqa: BLE001  # whatever a class raises
        return _reply_of_plain_value(returned)


def unpickled(reply: bytes) -> object:
    """The result of a function, from what `run_pickled` has returned.

    Raises:
        UnserializableResultError: it has returned what cannot be brought out of its process.
        BaseException: what the function has raised, or a stand-in by its name.
    """
    known = cast("Reply", pickle.loads(reply))  # noqa: S301  # from a process of our own
    if known.error is not None:
        raise _error_of(known) from RemoteTracebackError(known.traceback)
    try:
        return pickle.loads(known.value)  # noqa: S301  # as above
    except BaseException as problem:  # noqa: BLE001  # whatever a class raises
        text = f"the task's result ({known.kind}) cannot be brought out of the pool's process: {text_of(problem)}"
        raise UnserializableResultError(text) from None


def _reply_of_error(error: BaseException) -> bytes:
    error = tamed(error)
    try:
        value = pickle.dumps(error)
        pickle.loads(value)  # noqa: S301  # made in the line above
    except BaseException:  # noqa: BLE001  # whatever a class raises
        value = b""
    text = "".join(traceback.format_exception(error))
    return pickle.dumps(Reply(value=value, error=encode_error(error), traceback=text))


def _error_of(reply: "Reply") -> BaseException:
    with suppress(BaseException):  # its class is not known here, or raises here only
        error: object = pickle.loads(reply.value)  # noqa: S301  # from a process of our own
        if is_a(error, BaseException):
            return error
    return decode_error(reply.error)


def _reply_of_plain_value(returned: object) -> bytes:
    """What becomes of a value that pickle refuses: its JSON, as is stored of any result."""
    try:
        return pickle.dumps(Reply(value=pickle.dumps(as_plain(returned)), kind=class_name(type(returned))))
    except BaseException as problem:  # noqa: BLE001  # code of the value's own
        return _reply_of_error(unserializable(returned, problem))


def _stay(_number: int, _frame: object) -> None:
    """Take no notice of a signal, but let what is executed from here have its default."""


def _follow(worker: "BaseProcess") -> None:
    worker.join()
    os._exit(1)
