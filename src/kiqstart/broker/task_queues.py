"""Which queues the tasks of a broker name."""

from taskiq import AsyncBroker

from kiqstart.tasks.labels import QUEUE_LABEL


def queues_of_tasks(broker: AsyncBroker) -> list[str]:
    """The queues that tasks name themselves."""
    labels = [task.labels for task in broker.get_all_tasks().values()]
    return [str(one[QUEUE_LABEL]) for one in labels if QUEUE_LABEL in one]
