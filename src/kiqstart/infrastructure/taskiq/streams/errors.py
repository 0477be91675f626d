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
