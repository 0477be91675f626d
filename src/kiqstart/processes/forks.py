"""What a process that was forked has of its parent's, and who must know of it there."""

import os
from logging import getLogger
from typing import Final, Protocol
from weakref import WeakSet

logger = getLogger(__name__)


class Forkable(Protocol):
    """What has to know when its process is a copy of the one that it was made in."""

    def after_fork(self) -> None:
        """Let the parent keep what this holds. Is called in the child, before anything else there."""


_is_forked = False
_tracked: Final[WeakSet[Forkable]] = WeakSet()
# Collecting what a parent still uses would close it by way of the event loop.
_inherited: Final[list[Forkable]] = []


def tell_of_forks(resource: Forkable) -> None:
    """Have `after_fork` called in each child; in the child's children too."""
    _tracked.add(resource)


def is_forked() -> bool:
    """Whether this process is a copy of another one, which had imported this module."""
    return _is_forked


def _after_fork() -> None:
    global _is_forked  # noqa: PLW0603  # a process has one life
    _is_forked = True
    for one in list(_tracked):
        _inherited.append(one)
        try:
            one.after_fork()
        except Exception:
            logger.exception("A connection of the parent process may be disturbed by this one")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
