"""A module with a task, which a command line names beside the broker's."""

from tests.kiqstart.integration.broker.apps.quarantine import broker, hold

broker.register_task(hold, task_name="late")
# As if the task's function were of this module.
hold.__module__ = __name__
