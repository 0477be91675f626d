"""What held a run up, in sentences."""

from collections.abc import Sequence
from typing import Final

from kiqstart.retention.report import FailureGroup
from kiqstart.retention.state import PieceState

_MOST_CAUSES: Final = 5
# A shorter rest is no news.
_WORTH_A_WORD: Final = 1.0


def describe_run(states: Sequence[PieceState], failures: Sequence[FailureGroup], left_alone: int) -> tuple[str, ...]:
    """Say why rows could not be deleted, a line for each cause, how many are left alone, and what was waited for."""
    return (*_causes(failures), *_left_alone(left_alone), *_waits(states))


def _causes(failures: Sequence[FailureGroup]) -> list[str]:
    rows: dict[str, int] = {}
    for one in failures:
        rows[one.error] = rows.get(one.error, 0) + one.rows
    causes = sorted(rows.items(), key=lambda cause: -cause[1])
    said = [f"{count:,} {_rows(count)} cannot be deleted: {error}" for error, count in causes[:_MOST_CAUSES]]
    if others := sum(count for _, count in causes[_MOST_CAUSES:]):
        said.append(f"{others:,} {_rows(others)} cannot be deleted for {len(causes) - _MOST_CAUSES} other causes")
    return said


def _left_alone(rows: int) -> list[str]:
    if not rows:
        return []
    until = "are not tried again before RETENTION_RETRY_FAILED_AFTER has passed (see the table retention_undeletable)"
    return [f"{rows:,} {_rows(rows)} could not be deleted of late and {until}"]


def _waits(states: Sequence[PieceState]) -> list[str]:
    seconds = sum(state.waited for state in states)
    reasons = [state.waited_for for state in states if state.waited_for is not None]
    return [f"waited {seconds:,.0f} s, at last for {reasons[-1]}"] if reasons and seconds >= _WORTH_A_WORD else []


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"
