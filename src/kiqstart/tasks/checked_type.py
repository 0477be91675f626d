"""A declared type, as pydantic checks it and as JSON carries it. Of a class both are found out once.

Tasks of an application take and return the same few classes, and a class of some fields takes ten milliseconds.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from pydantic import TypeAdapter

from kiqstart.tasks.json_types import json_problem


@dataclass(frozen=True)
class CheckedType:
    """A type and what checks its values."""

    adapter: TypeAdapter[Any]

    @cached_property
    def json_problem(self) -> str | None:
        """Why its values do not arrive as they were sent; None if they do."""
        return json_problem(self.adapter)


def checked_type(hint: Any) -> CheckedType:  # noqa: ANN401  # a type of any kind
    """Let pydantic read a type.

    Raises:
        PydanticSchemaGenerationError: it cannot be checked.
        Exception: likewise; whatever the type's own hooks raise.
    """
    # Other hints may be equal without being the same: `int | str` and `str | int` take text for different values.
    if isinstance(hint, type) and type(hint).__hash__ is type.__hash__:
        known = _of_class(hint)
        # What a class refers to may become known later.
        if known.adapter.pydantic_complete:
            return known
    return CheckedType(TypeAdapter(hint))


@lru_cache(maxsize=256)
def _of_class(cls: type) -> CheckedType:
    return CheckedType(TypeAdapter(cls))
