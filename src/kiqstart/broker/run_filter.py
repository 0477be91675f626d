"""Which of the runs that have ended are looked for."""

from dataclasses import dataclass
from datetime import datetime

from kiqstart.broker.run_decoding import Run
from kiqstart.broker.run_stats import Outcome
from kiqstart.observability.redaction import redact


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs are looked for; all that is not None has to fit.

    Args:
        task_id: the task's id.
        task: the task's name.
        since: runs that ended then or later.
        text: is in the id, the task's name, the arguments, the result, the error, or the worker's name or host, in
            capitals or not.
    """

    task_id: str | None = None
    task: str | None = None
    outcome: Outcome | None = None
    queue: str | None = None
    since: datetime | None = None
    text: str | None = None

    def fits(self, run: Run) -> bool:
        """Whether a run is one of them."""
        return (
            self.task_id in (None, run.task_id)
            and self.task in (None, run.task)
            and self.outcome in (None, run.outcome)
            and self.queue in (None, run.queue)
            and (self.since is None or run.ended >= self.since)
            and (self.text is None or _has_text(run, self.text.casefold()))
        )


def _has_text(run: Run, wanted: str) -> bool:
    """Whether a text, in small letters, is in what is shown of a run; in the rest, a search would tell secrets."""
    texts = (run.task_id, run.task, run.arguments, run.result, run.error, run.traceback, run.worker, run.host)
    return any(text and wanted in text.casefold() and wanted in redact(text).casefold() for text in texts)
