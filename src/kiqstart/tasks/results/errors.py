"""What can become of a task that was sent, and of its result."""

from taskiq.exceptions import ResultGetError
from taskiq.exceptions import UnknownTaskError as TaskiqUnknownTaskError


class _TaskError(Exception):
    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)

    @property
    def task_id(self) -> str:
        """Which task."""
        return str(self.args[0])


class TaskCancelledError(_TaskError):
    """The task was cancelled by its id."""

    def __str__(self) -> str:
        return f"task {self.task_id} was cancelled"


class WorkerLostError(_TaskError):
    """The task went down with its worker as often as is allowed, and is a dead letter."""

    def __str__(self) -> str:
        return f"task {self.task_id} was lost with its worker too often; it is among the dead letters"


class TaskCutOffError(WorkerLostError):
    """The task was cut off as its worker ended or died; acknowledged before its end, it does not run again."""

    def __str__(self) -> str:
        return (
            f"task {self.task_id} was cut off with its worker; "
            "it was acknowledged before its end and does not run again"
        )


class TaskExitedError(Exception):
    """The task raised what is no error but an end: SystemExit, KeyboardInterrupt, CancelledError or the like.

    It is the cause of this one, which takes its place where a result is read: raised there, it would end the caller.
    """


class UnserializableResultError(TypeError):
    """A task returned what JSON cannot hold: the task has failed."""


class ResultTooLargeError(UnserializableResultError):
    """A task returned more than a result may have: the task has failed."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)

    def __str__(self) -> str:
        limit = "(TASKS_RESULT_BYTES, result_bytes)"
        return f"the task's result has {self.args[0]} {limit}; store it elsewhere and return where"


class TaskTooLargeError(Exception):
    """The task's message is larger than its worker decodes: it has not run, and is a dead letter."""


class UnreadableTaskError(Exception):
    """No worker can read the task's message: it has not run, and is a dead letter."""

    def __str__(self) -> str:
        return "no worker can read the task's message; it is among the dead letters"


class UnknownTaskError(TaskiqUnknownTaskError):
    """No worker that could take the message has its task: it has not run, and is a dead letter."""

    __template__ = "no worker has the task {task_name!r}; the message is among the dead letters"


class UntrustedTaskError(Exception):
    """The task's message is not signed, or cannot be decrypted: it has not run, and is a dead letter."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)

    def __str__(self) -> str:
        return f"the task's message is not trusted: {self.args[0]}"


class ResultRefusedError(Exception):
    """Redis refuses a task's result for good: the task has run, and its result is lost.

    Args:
        reason: Redis' own words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)

    def __str__(self) -> str:
        return f"the task has run, and Redis refuses its result: {self.args[0]}"


class UnreadableResultError(ResultGetError):
    """What Redis has as a task's result is none, or one that this version cannot read."""

    __template__ = "the result of task {task_id} cannot be read: {reason}"
    task_id: str
    reason: str


def raisable(error: BaseException) -> Exception:
    """The error; or, if it would end or cancel whoever raises it, one that says so and has it as its cause.

    A caller raises what anybody may have stored: a `SystemExit` would end its process, and a `CancelledError` would
    pass for the cancellation of its own task.
    """
    if issubclass(type(error), Exception):
        return error  # type: ignore[return-value]  # which mypy cannot see of `type`: an error may lie about its class
    exited = TaskExitedError(f"{type(error).__name__}: {error}".removesuffix(": "))
    exited.__cause__ = error
    return exited
