"""What a policy allows its runs, within what the settings and the caller allow: when, how fast and how much."""

from dataclasses import dataclass, fields
from datetime import datetime, time
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kiqstart.retention.run_options import is_number
from kiqstart.retention.target import TargetError

N = TypeVar("N", int, float)

_KINDS: Final = {int: "a whole number", float: "a number"}


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """A policy's own ceilings; where the settings or the caller have one too, the lower holds. None for no ceiling.

    Args:
        rows: of a run.
        seconds: of a run, from its beginning.
        rows_per_second: of a run, by all who take part.
        batch_rows: of a batch; lower where each row is dear, by triggers or cascades.
        batch_seconds: of a batch; lower where others must wait less for its locks.
    """

    rows: int | None = None
    seconds: float | None = None
    rows_per_second: int | None = None
    batch_rows: int | None = None
    batch_seconds: float | None = None

    def check(self) -> None:
        """Return if each is above zero.

        Raises:
            TargetError: one is not.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            kind = int if "rows" in field.name else float
            if value is None:
                continue
            if not is_number(value, kind):
                raise TargetError(f"its ceiling `{field.name}` must be {_KINDS[kind]}, not {value!r:.100}")
            if not value > 0:
                raise TargetError(f"its ceiling `{field.name}` must be above 0, not {value!r:.100}")


@dataclass(frozen=True, kw_only=True)
class DailyWindow:
    """The time of day in which a policy may run, from `begin` up to `end`, over midnight if that is the earlier one."""

    begin: time
    end: time
    time_zone: str = "UTC"

    def check(self) -> None:
        """Return if there is such a time.

        Raises:
            TargetError: there is not.
        """
        ends: list[object] = [self.begin, self.end]
        if self.begin == self.end or not all(isinstance(one, time) and one.tzinfo is None for one in ends):
            raise TargetError(
                "its window must be two times of day without a time zone of their own, not "
                f"{self.begin!r:.100} to {self.end!r:.100}"
            )
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, TypeError, AttributeError, OSError):
            raise TargetError(
                f"its window is in {self.time_zone!r:.100}, which is no time zone: as in 'Europe/Berlin'"
            ) from None

    def is_open(self, moment: datetime) -> bool:
        """Whether a moment is in it."""
        now = moment.astimezone(ZoneInfo(self.time_zone)).time()
        if self.begin < self.end:
            return self.begin <= now < self.end
        return now >= self.begin or now < self.end

    def __str__(self) -> str:
        """Return it as a log has it."""
        return f"{self.begin:%H:%M} to {self.end:%H:%M} {self.time_zone}"


def lower(one: N | None, other: N | None) -> N | None:
    """Return the lower of two ceilings."""
    return one if other is None else other if one is None else min(one, other)
