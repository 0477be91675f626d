"""A surface: which inputs arrive on it, and what becomes of one."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

_numbers: Final = count()


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where inputs are tried.

    Args:
        redis_url: the Redis; its password is planted.
        database_url: a migrated database; its password is planted.
        prefix: what all keys begin with.
        folder: an empty one.
    """

    redis_url: str
    database_url: str
    prefix: str
    folder: Path

    def new_prefix(self) -> str:
        """One for a single input, which meets nothing that others have left."""
        return f"{self.prefix}-{next(_numbers)}"


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Where something arrives from outside.

    Args:
        name: as `make fuzz SURFACE=` has it.
        inputs: what may arrive; one holds several odd things.
        try_out: puts one in, and fails if it does what it may not.
        size: how many odd things an input holds.
        examples: how many inputs the tests try.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    try_out: Callable[[Ground, Any], None]
    size: Callable[[Any], int] = lambda _: 1
    examples: int
