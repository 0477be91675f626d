"""Keys of which one task waits or runs at a time, made from a call's arguments."""

import string
from collections.abc import Callable
from typing import Final

from taskiq import TaskiqMessage, TaskiqMiddleware
from taskiq.labels import prepare_label

from kiqstart.infrastructure.taskiq.arguments import task_arguments
from kiqstart.infrastructure.taskiq.errors import WiringError
from kiqstart.infrastructure.taskiq.labels import UNIQUE_LABEL

UNIQUE_TEMPLATE_LABEL: Final = "unique_template"


def check_template(where: str, template: str, function: Callable[..., object]) -> None:
    """Check that a template names arguments of its task only.

    Raises:
        WiringError: it names another one, or cannot be read.
    """
    known = task_arguments(function).signature.parameters
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise WiringError(f"{where}: unique={template!r}: {error}") from None
    if unknown := sorted(names - set(known)):
        raise WiringError(f"{where}: unique={template!r}: the task takes no argument {unknown[0]!r}")


class UniquenessMiddleware(TaskiqMiddleware):
    """Gives a message that is sent the key that its task's template makes of its arguments.

    A caller may set the label `unique` itself; '' sends the message beside the others.
    """

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Set the label `unique`."""
        template = message.labels.get(UNIQUE_TEMPLATE_LABEL)
        task = self.broker.find_task(message.task_name)
        if template is None or task is None or UNIQUE_LABEL in message.labels:
            return message
        bound = task_arguments(task.original_func).signature.bind(*message.args, **message.kwargs)
        bound.apply_defaults()
        key = str(template).format(**bound.arguments)
        message.labels[UNIQUE_LABEL], label_type = prepare_label(key)
        message.labels_types = {**(message.labels_types or {}), UNIQUE_LABEL: label_type}
        return message
