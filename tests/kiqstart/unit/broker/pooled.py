"""Functions for the processes of a pool, which import them from here."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from kiqstart import report_progress


@dataclass
class Point:
    x: int


class NotToBeUnpickledError(Exception):
    """An error that pickle can write and not read: its arguments are not those of its `__init__`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


def add(one: int, other: int = 1) -> int:
    return one + other


def tell_process() -> int:
    return os.getpid()


def tell_slowly() -> int:
    time.sleep(0.1)
    return os.getpid()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def start_helper() -> int:
    """Start a process that has all that this one has open, and gives none of it back for ten seconds; gives its id."""
    helper = os.fork()
    if not helper:
        time.sleep(10)
        os._exit(0)
    return helper


def die_with_helper(told: str) -> None:
    Path(told).write_text(f"{start_helper()}\n")
    die()


def die_in_reply() -> None:
    """Let this process die when it has sent the length of what this function returns, and no more."""

    def send_half(connection: Connection, buffer: memoryview) -> None:
        os.write(connection.fileno(), len(buffer).to_bytes(4))
        die()

    setattr(Connection, "_send_bytes", send_half)  # noqa: B010  # not public


def leave() -> None:
    sys.exit(3)


def wait_for(path: str, *, told: str) -> int:
    """Tell by a file that holds the process' id that it runs, wait for another one, and give the id."""
    with Path(told).open("a") as file:
        file.write(f"{os.getpid()}\n")
    while not Path(path).exists():
        time.sleep(0.01)
    return os.getpid()


def raise_stop_iteration() -> int:
    return next(iter([]))


def raise_unreadable() -> None:
    raise NotToBeUnpickledError(7, "odd")


def give_function() -> object:
    return {"rows": [1, lambda: None]}


def raise_local(name: str) -> None:
    """Raise an error of a class that nobody can find by name, and that has its own word for something."""

    def word(_: object, *__: object) -> object:
        raise LookupError("odd")

    raise type("LocalError", (OSError,), {name: word if callable(getattr(OSError, name)) else property(word)})(
        "no file"
    )


def give_local() -> object:
    """Return what pickle refuses, and JSON does not."""

    @dataclass
    class Row:
        number: int
        place: Point

    return [Row(1, Point(2))]


class OnlyWritten:
    """Pickle writes it and does not read it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return int, ("no number",)


def give_only_written() -> object:
    return OnlyWritten()


def report_until(go: str) -> str:
    """Report, and wait for a file; a report is made often, and its last one is the one that counts."""
    for done in range(1000):
        report_progress(done, 1000, "pages of https://me:hunter2@db")
    while not Path(go).exists():
        time.sleep(0.01)
    return "reported"


def report_then_die() -> None:
    report_progress(float("nan"), 10**400, "x" * 100_000)
    die()


def report_pages(go: str) -> str:
    """The same, for who registers it as a task: taskiq gives it another name in this module."""
    return report_until(go)
