"""The arguments of a call, as its message has them, and whether one has a certain value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast


@dataclass(frozen=True, kw_only=True)
class ArgumentValues:
    """The arguments of a call; none where they were cut, or are encrypted.

    Args:
        args: those that were handed in by their place.
        kwargs: those that were handed in by name.
    """

    args: Sequence[object] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict[str, object])

    def have(self, name: str, value: object, parameters: Sequence[str]) -> bool:
        """Whether an argument was handed in with this JSON value.

        Args:
            name: the argument's.
            value: as JSON has it.
            parameters: the names of those that may be handed in by their place, in that order.
        """
        if name in self.kwargs:
            return is_same_json(self.kwargs[name], value)
        place = parameters.index(name) if name in parameters else len(self.args)
        return place < len(self.args) and is_same_json(self.args[place], value)


NO_VALUES: Final = ArgumentValues()
"""Those of what cannot be read."""


def is_same_json(one: object, other: object) -> bool:
    """Whether two values are the same in JSON: 7 is 7.0, and neither "7" nor true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    if isinstance(one, list) and isinstance(other, list):
        ones, others = cast("list[object]", one), cast("list[object]", other)
        return len(ones) == len(others) and all(map(is_same_json, ones, others))
    if isinstance(one, dict) and isinstance(other, dict):
        first, second = cast("dict[str, object]", one), cast("dict[str, object]", other)
        return first.keys() == second.keys() and all(is_same_json(first[name], second[name]) for name in first)
    return one == other
