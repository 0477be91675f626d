"""A module with a task, which a command line names beside the broker's."""

from tests.kiqstart.integration.broker.apps.quarantine import broker, nap

broker.register_task(nap, task_name="late")
# As if the task's function were of this module.
nap.__module__ = __name__
