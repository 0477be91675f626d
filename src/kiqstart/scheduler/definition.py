"""A schedule as it is kept in the store."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kiqstart.scheduler.log_text import error_line
from kiqstart.scheduler.triggers import Trigger
from kiqstart.tasks.colliding_keys import refuse_colliding_arguments, refuse_colliding_keys

VERSION: Final = 1
"""Of what is kept. It grows where an older scheduler would do something else than what a definition says."""


class CatchUp(StrEnum):
    """What is done with times at which nobody could send: all schedulers were down, frozen, or without Redis."""

    LATEST = "latest"
    """The last one is caught up."""
    ALL = "all"
    """All are caught up, oldest first, up to `max_catch_up` of the newest."""
    NONE = "none"
    """What is later than ten seconds is left out."""


class UnreadableScheduleError(Exception):
    """What is kept under a schedule's name is no schedule."""


class ScheduleDefinition(BaseModel):
    """What is sent, when, and what is done with times that were missed.

    Args:
        v: the version of what is kept, 1 where it is not there; a higher one is left to newer schedulers.
        name: unique; the task's id is `name@time`.
        labels: the task's own and those of this schedule.
        misfire_grace_time: seconds after which a missed time is not caught up any more; None for any.
    """

    # An older version ignores what a newer one has added. What is stored keeps the names that it has had.
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    v: int = Field(default=VERSION, ge=1)
    name: str
    task: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    labels: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    timing: Trigger
    catch_up: CatchUp = Field(default=CatchUp.LATEST, validation_alias="missed", serialization_alias="missed")
    max_catch_up: int = Field(default=100, ge=1, validation_alias="at_most", serialization_alias="at_most")
    misfire_grace_time: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, validation_alias="max_lateness", serialization_alias="max_lateness"
    )
    is_dynamic: bool = False

    def dump(self) -> bytes:
        """As JSON, the same text for equal definitions, in whichever order their arguments stand.

        Raises:
            ValueError: an argument or a label is nothing that JSON has.
        """
        refuse_colliding_arguments(self.args, self.kwargs)
        refuse_colliding_keys(self.labels)
        known = self.model_dump(mode="json", exclude_defaults=True, by_alias=True)
        return json.dumps(known, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def load(cls, data: bytes, *, name: str | None = None) -> "ScheduleDefinition":
        """Read what `dump` gave.

        Args:
            data: what is kept.
            name: under which it is kept; None: whatever it says itself.

        Raises:
            UnreadableScheduleError: it is something else, of a later version, or has another name.
        """
        try:
            definition = cls.model_validate_json(data)
        except ValidationError as error:
            raise UnreadableScheduleError(_later_version(data) or _first_problem(error)) from None
        except Exception as error:
            # Whatever a stranger's text makes a parser do, it concerns this schedule alone.
            raise UnreadableScheduleError(error_line(error)) from error
        if definition.v > VERSION:
            raise UnreadableScheduleError(_is_later(definition.v))
        if name is not None and definition.name != name:
            raise UnreadableScheduleError(f"it says that its name is {definition.name!r}")
        return definition


class _Version(BaseModel):
    # All else may be of another shape in a later version.
    model_config = ConfigDict(extra="ignore")

    v: int = 1


def _later_version(data: bytes) -> str | None:
    try:
        version = _Version.model_validate_json(data).v
    except ValidationError:
        return None
    return _is_later(version) if version > VERSION else None


def _is_later(version: int) -> str:
    return f"it is of version {version}, of which this scheduler knows {VERSION}"


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    # What is missing or too much may only be so for another kind of timing.
    told = [one for one in problems if one["type"] not in {"missing", "extra_forbidden"}]
    first = (told or problems)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
