"""Which queues the tasks of a broker name."""

from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask

from kiqstart.tasks.labels import DEFAULT_QUEUE, QUEUE_LABEL


def queue_of_task(task: AsyncTaskiqDecoratedTask[..., object]) -> str:
    """The queue to which a task is sent."""
    return str(task.labels.get(QUEUE_LABEL, DEFAULT_QUEUE))


def queues_of_tasks(broker: AsyncBroker) -> list[str]:
    """The queues that tasks name themselves."""
    labels = [task.labels for task in broker.get_all_tasks().values()]
    return [str(one[QUEUE_LABEL]) for one in labels if QUEUE_LABEL in one]
