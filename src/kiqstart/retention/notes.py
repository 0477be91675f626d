"""What held a run up, in sentences."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from kiqstart.retention.state import ShardState

_MOST_CAUSES: Final = 5
# A shorter rest is no news.
_WORTH_A_WORD: Final = 1.0


def describe_run(states: Sequence[ShardState], left_alone: int) -> tuple[str, ...]:
    """Say why rows could not be deleted, a line for each cause, how many are left alone, and what was waited for."""
    return (*_causes(states), *_left_alone(left_alone), *_waits(states))


def _causes(states: Sequence[ShardState]) -> list[str]:
    rows = sum((Counter(state.causes) for state in states), Counter[str]())
    causes = rows.most_common(_MOST_CAUSES)
    said = [f"{count:,} {_rows(count)} cannot be deleted: {error}" for error, count in causes]
    if others := sum(state.failed for state in states) - sum(count for _, count in causes):
        said.append(f"{others:,} {_rows(others)} cannot be deleted for other causes")
    return said


def _left_alone(rows: int) -> list[str]:
    if not rows:
        return []
    until = "are not tried again before RETENTION_RETRY_FAILED_AFTER has passed (see the table retention_undeletable)"
    return [f"{rows:,} {_rows(rows)} could not be deleted of late and {until}"]


def _waits(states: Sequence[ShardState]) -> list[str]:
    seconds = sum(state.waited for state in states)
    reasons = [state.waited_for for state in states if state.waited_for is not None]
    return [f"waited {seconds:,.0f} s, at last for {reasons[-1]}"] if reasons and seconds >= _WORTH_A_WORD else []


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"
