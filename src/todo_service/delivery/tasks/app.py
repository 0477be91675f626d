"""What the worker and the scheduler are started with.

kiqstart worker        # or: taskiq worker todo_service.delivery.tasks.app:broker
taskiq scheduler todo_service.delivery.tasks.app:scheduler
"""

from taskiq import AsyncBroker, TaskiqScheduler

from kiqstart import LogSettings, configure_logging, exit_on_operator_error, load_settings

with exit_on_operator_error():
    # Imported here, since a schedule that can never be due is noticed while its table is imported.
    from todo_service.ioc.app import create_app

    app = create_app()
    configure_logging(load_settings(LogSettings))
    broker: AsyncBroker = app.broker
    scheduler: TaskiqScheduler = app.needs_scheduler()
