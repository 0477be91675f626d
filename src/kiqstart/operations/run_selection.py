"""Which runs a command is about."""

from datetime import UTC, datetime, timedelta

from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_stats import Outcome
from kiqstart.operations.dead_selection import SelectionError, parse_age


def which_runs(
    *, task: str | None, outcome: str | None, queue: str | None, text: str | None, since: str | None = None
) -> RunFilter:
    """The filter of a command's options.

    Raises:
        SelectionError: there is no such outcome, or no such age.
    """
    if outcome is not None and outcome not in list(Outcome):
        raise SelectionError(f"--outcome {outcome!r} is none of {', '.join(Outcome)}")
    began = None if since is None else datetime.now(UTC) - timedelta(seconds=parse_age(since, "--since"))
    return RunFilter(
        task=task, outcome=None if outcome is None else Outcome(outcome), queue=queue, text=text, since=began
    )
