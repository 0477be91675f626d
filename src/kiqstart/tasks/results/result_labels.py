"""The labels that go with a result. What a task or a middleware has put there harms no result."""

from logging import getLogger
from typing import Any, cast

from kiqstart.tasks.exact_json import dump_exactly
from kiqstart.tasks.results.error_encoding import text_of
from kiqstart.tasks.results.plain_values import clip

logger = getLogger(__name__)

_LONGEST_NAME = 100


def sendable_labels(task_id: str, labels: object) -> dict[str, Any]:
    """The labels that JSON can hold, each of the others with a line in the log; the same object if all of them can.

    Args:
        task_id: for the log.
        labels: of a result, whatever they are.
    """
    if not isinstance(labels, dict):
        logger.warning("Task with id %s: its result's labels are no dict and left out", task_id)
        return {}
    known = cast("dict[str, Any]", labels)
    problems = {name: problem for name, value in known.items() if (problem := _problem(name, value)) is not None}
    for name, problem in problems.items():
        shown = clip(str(name), _LONGEST_NAME)
        logger.warning("Task with id %s: its label %s is left out of its result: %s", task_id, shown, problem)
    return {name: value for name, value in known.items() if name not in problems} if problems else known


def size_of(labels: object) -> int:
    """How many bytes labels take that JSON can hold."""
    return len(dump_exactly(labels))


def _problem(name: object, value: object) -> str | None:
    try:
        dump_exactly({name: value})
    except Exception as error:  # noqa: BLE001  # code of the value's own class
        return text_of(error).partition("\n")[0]
    return None
