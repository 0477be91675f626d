"""The service as one object: what `kiqstart` and the fixtures of its tests are told of it."""

from taskiq import TaskiqScheduler

from kiqstart import AlembicDatabase, App, LogSettings, check_settings, configure_logging
from kiqstart.broker import RedisSettings, TasksSettings
from kiqstart.retention import RetentionPolicies
from todo_service.core.session.service import RefreshSessionService
from todo_service.core.todo.service import TodoService
from todo_service.core.user.service import UserService
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.infrastructure.database.settings import DatabaseSettings, RetentionEnvironment
from todo_service.ioc.container import ContainerFactory


def create_app() -> App:
    """Build it; settings come from the environment and `.env`.

    Raises:
        OperatorError: a setting, the wiring or a schedule is wrong, in one line.
    """
    check_settings(RedisSettings, LogSettings, TasksSettings, DatabaseSettings, RetentionEnvironment)
    container = ContainerFactory()()
    registry = container.resolve(TasksRegistry)
    return App(
        broker=registry.broker,
        registry=registry,
        scheduler=container.resolve(TaskiqScheduler),
        retention=container.resolve(RetentionPolicies),
        database=container.resolve(AlembicDatabase),
        configure_logging=lambda: configure_logging(container.resolve(LogSettings)),
        names={
            "container": container,
            **{part.__name__: part for part in (UserService, RefreshSessionService, TodoService)},
        },
    )
