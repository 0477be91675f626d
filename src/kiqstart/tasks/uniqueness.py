"""Gives the messages of unique tasks their keys."""

from functools import cache

from taskiq import TaskiqMessage, TaskiqMiddleware
from taskiq.labels import prepare_label

from kiqstart.tasks.arguments import TaskArguments, task_arguments
from kiqstart.tasks.labels import UNIQUE_LABEL
from kiqstart.tasks.unique_keys import UNIQUE_TEMPLATE_LABEL, KeyTemplate


class UniquenessMiddleware(TaskiqMiddleware):
    """Gives a message that is sent the key that its task's template makes of its arguments.

    The template is that of the registered task, whatever a message's own labels say: these may come from anywhere. A
    caller may set the label `unique` itself; '' sends the message beside the others.
    """

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Set the label `unique`.

        Raises:
            InvalidTaskArgumentsError: the task does not take these arguments; nothing was sent.
        """
        task = self.broker.find_task(message.task_name)
        template = None if task is None else task.labels.get(UNIQUE_TEMPLATE_LABEL)
        if task is None or template is None or UNIQUE_LABEL in message.labels:
            return message
        made = _template(str(template), task_arguments(task.original_func))
        key = made.key(message.task_name, message.args, message.kwargs)
        message.labels[UNIQUE_LABEL], label_type = prepare_label(key)
        message.labels_types = {**(message.labels_types or {}), UNIQUE_LABEL: label_type}
        return message


@cache
def _template(template: str, arguments: TaskArguments) -> KeyTemplate:
    return KeyTemplate(template, arguments)
