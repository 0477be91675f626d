"""What can become of a task that was sent."""


class TaskCancelledError(Exception):
    """The task was cancelled by its id."""

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        return f"task {self.task_id} was cancelled"


class WorkerLostError(Exception):
    """The task went down with its worker as often as is allowed, and is a dead letter."""

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        return f"task {self.task_id} was lost with its worker too often; it is among the dead letters"


class ResultRefusedError(Exception):
    """Redis does not take the task's result: it is too large, or the user may not write it."""

    def __init__(self, task_id: str, problem: str) -> None:
        super().__init__(task_id, problem)
        self.task_id = task_id
        self.problem = problem

    def __str__(self) -> str:
        return f"the result of task {self.task_id} was refused by Redis: {self.problem}"
