"""Which ids a task may have: they become part of keys in Redis, and stand in log lines."""

from typing import Final

from kiqstart.errors import OperatorError
from kiqstart.tasks.labels import LONGEST_NAME

# As taskiq-redis has it: what the key of a task's progress has after that of its result.
PROGRESS_SUFFIX: Final = "__progress"
_SHOWN: Final = 50


class InvalidTaskIdError(OperatorError, ValueError):
    """No task can have this id."""

    def __init__(self, task_id: str, problem: str) -> None:
        super().__init__(f"task {task_id[:_SHOWN]!r}: {problem}")


def check_task_id(task_id: str) -> None:
    """Refuse an id that no task can have.

    Raises:
        InvalidTaskIdError: it is empty, too long, no UTF-8, or the place of another task's progress.
    """
    if problem := _problem(task_id):
        raise InvalidTaskIdError(task_id, problem)


def _problem(task_id: str) -> str | None:
    try:
        size = len(task_id.encode())
    except UnicodeEncodeError as error:
        return f"its id is not UTF-8: {error.reason}"
    if not size:
        return "its id is empty"
    if size > LONGEST_NAME:
        return f"its id has {size} bytes, {LONGEST_NAME} at most"
    if task_id.endswith(PROGRESS_SUFFIX):
        return f"an id may not end with {PROGRESS_SUFFIX!r}, which is where the progress of another task is kept"
    return None
