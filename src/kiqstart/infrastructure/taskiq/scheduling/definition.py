"""A schedule as it is kept in the store."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kiqstart.infrastructure.taskiq.scheduling.timing import Timing


class Missed(StrEnum):
    """What is done with times at which nobody could send: all schedulers were down, frozen, or without Redis."""

    LATEST = "latest"
    """The last one is made up."""
    ALL = "all"
    """All are made up, oldest first, up to `at_most` of the newest."""
    NONE = "none"
    """What is later than ten seconds is left out."""


class UnreadableScheduleError(Exception):
    """What is kept under a schedule's name is no schedule."""


class Definition(BaseModel):
    """What is sent, when, and what is done with times that were missed.

    Args:
        name: unique; the task's id is `name@time`.
        labels: the task's own and those of this schedule.
        max_lateness: seconds after which a missed time is not made up any more; None for any.
    """

    # An older version ignores what a newer one has added.
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    task: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    labels: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    timing: Timing
    missed: Missed = Missed.LATEST
    at_most: int = Field(default=100, ge=1)
    max_lateness: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    is_dynamic: bool = False

    def dump(self) -> bytes:
        """As JSON, the same text for equal definitions, in whichever order their arguments stand.

        Raises:
            ValueError: an argument or a label is nothing that JSON has.
        """
        known = self.model_dump(mode="json", exclude_defaults=True)
        return json.dumps(known, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def load(cls, data: bytes) -> "Definition":
        """Read what `dump` gave.

        Raises:
            UnreadableScheduleError: it is something else.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            problems = error.errors(include_url=False)
            # What is missing or too much may only be so for another kind of timing.
            told = [one for one in problems if one["type"] not in {"missing", "extra_forbidden"}]
            first = (told or problems)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UnreadableScheduleError(f"{where}: {first['msg']}" if where else first["msg"]) from None
