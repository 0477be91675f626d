"""Charts of a policy's last runs: how many rows each has deleted, and how long its batches took."""

from collections.abc import Sequence

from kiqstart.dashboard.charts import Chart, Column, chart
from kiqstart.operations.retention import state_of_run
from kiqstart.operations.schedule_wording import shown_seconds
from kiqstart.retention.history import PastRun


def charts_of_runs(runs: Sequence[PastRun]) -> list[Chart]:
    """The charts of runs, which are given newest first; none for none."""
    known = [one for one in reversed(runs) if one.started_at is not None]
    return [_rows(known), _batches(known)] if known else []


def _rows(runs: Sequence[PastRun]) -> Chart:
    deleted, failed = sum(one.deleted for one in runs), sum(one.failed for one in runs)
    return chart(
        "Rows, by run",
        [_column(one, _said_of_rows(one), [("failed", one.failed), ("succeeded", one.deleted)]) for one in runs],
        said=f"{deleted:,} rows in {_counted(runs)}" + (f", {failed:,} cannot go" if failed else ""),
        shown_top=lambda top: f"{top:,.0f} rows",
    )


def _batches(runs: Sequence[PastRun]) -> Chart:
    return chart(
        "Longest batch, by run",
        [_column(one, shown_seconds(one.longest_batch), [("wait", one.longest_batch)]) for one in runs],
        said=f"{sum(one.batches for one in runs):,} batches in {_counted(runs)}",
        shown_top=shown_seconds,
    )


def _column(run: PastRun, text: str, parts: Sequence[tuple[str, float]]) -> Column:
    return Column(name=f"{run.started_at:%m-%d %H:%M}", text=f"{text}, {state_of_run(run)}", parts=parts)


def _said_of_rows(run: PastRun) -> str:
    return f"{run.deleted:,} rows" + (f", {run.failed:,} cannot go" if run.failed else "")


def _counted(runs: Sequence[PastRun]) -> str:
    return f"{len(runs)} run" if len(runs) == 1 else f"{len(runs)} runs"
