"""The lines of a run: one when it starts, one when it has ended, with all there is to know of it as fields."""

from collections.abc import Mapping
from logging import ERROR, INFO, getLogger
from typing import Final

from kiqstart.observability.task_fields import TaskRun, run_fields

# By its name a program that wants none of these lines turns them off.
RUN_LOG: Final = getLogger("kiqstart.runs")

# In a sentence, where that is another word than counts and commands have for how a run ended.
_WORDS: Final = {
    "retried": "failed",
    "dead": "failed",
    "cancelled": "was cancelled",
    "interrupted": "was cut off",
    "left": "was left to other workers",
}


def log_start(run: TaskRun, fields: Mapping[str, object]) -> None:
    """Log that a run starts.

    Args:
        run: the run.
        fields: what else there is to know of it.
    """
    RUN_LOG.debug("Task %s started (id %s)", run.task_name, run.task_id, extra={**run_fields(), **fields})


def log_end(
    run: TaskRun, fields: Mapping[str, object], *, error: BaseException | None = None, problem: str = ""
) -> None:
    """Log how a run has ended: as an error if it has raised one.

    Args:
        run: the run.
        fields: what else there is to know of it; its `outcome` and `seconds` at least.
        error: what it has raised.
        problem: what was wrong, if a traceback would say no more.
    """
    outcome = str(fields["outcome"])
    # One that is tried again without an error has stopped halfway, since its worker ends.
    words = "was interrupted" if outcome == "retried" and error is None else _WORDS.get(outcome, outcome)
    RUN_LOG.log(
        INFO if error is None else ERROR,
        "Task %s %s in %.2f s (id %s)%s",
        *(run.task_name, words, fields["seconds"], run.task_id, problem and f": {problem}"),
        exc_info=None if problem else error,
        extra={**run_fields(), **fields},
    )
