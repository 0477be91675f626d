"""A task for processes; each of them imports it from here."""

import os

from taskiq import InMemoryBroker

# Not the shared one, whose tasks all other tests of the process would find.
broker = InMemoryBroker()


@broker.task("add-in-a-process")
def add(one: int, other: int) -> tuple[int, int]:
    """A sum, and the process that has made it."""
    return one + other, os.getpid()
