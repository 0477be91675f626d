from typing import Any

import pytest
from aioinject import Object, Singleton
from pydantic import SecretStr

from kiqstart.database.alembic_database import DatabaseUnavailableError
from kiqstart.redis.client import RedisUnavailableError
from kiqstart.redis.settings import RedisSettings
from kiqstart.settings import SettingsError
from kiqstart.tasks.errors import WiringError
from todo_service.core.todo.service import TodoService
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.infrastructure.database.settings import DatabaseSettings
from todo_service.ioc.container import ContainerFactory, ServiceContainer


def test_the_registry_is_resolved_once_as_in_the_tutorials(container: ServiceContainer) -> None:
    registry = container.resolve(TasksRegistry)
    assert registry is container.resolve(TasksRegistry)
    assert registry.todo_cleanup.task_name == "todo.cleanup"


def test_settings_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, service_environment: dict[str, str]
) -> None:
    for name, value in service_environment.items():
        monkeypatch.setenv(name, value)
    container = ContainerFactory()()
    assert container.resolve(RedisSettings).redis_url.get_secret_value() == service_environment["REDIS_URL"]


def test_a_setting_is_asked_for_when_a_part_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("REDIS_URL", "nonsense://x:hunter2@y")
    container = ContainerFactory()()
    with pytest.raises(SettingsError, match="REDIS_URL is no URL of a Redis") as refused:
        container.resolve(RedisSettings)
    assert "hunter2" not in str(refused.value)


def test_a_test_puts_its_own_part_in_place(container: ServiceContainer) -> None:
    todos = container.resolve(TodoService)
    replaced = ContainerFactory(overrides=[Object(todos, interface=TodoService)])()
    assert replaced.resolve(TodoService) is todos


class Letters:
    """A part without a line."""


class Post:
    def __init__(self, letters: Letters, others: list[Letters], size: int = 3) -> None:
        self.parts = letters, others, size


class Sorting:
    def __init__(self, post: "Delivery") -> None:
        self.post = post


class Delivery:
    def __init__(self, sorting: Sorting) -> None:
        self.sorting = sorting


class Lost:
    def __init__(self, letters: "Unheard") -> None:  # type: ignore[name-defined]  # noqa: F821  # the point
        self.letters = letters


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([Singleton(Letters), Singleton(Letters)], r"ioc/container\.py: Letters stands there twice: remove one of the"),
        (
            [Singleton(Post)],
            r"test_container\.py: Post depends on Letters, which has no line in .*ioc/container\.py: add",
        ),
        ([Singleton(Sorting), Singleton(Delivery)], r"depend on each other in a circle: (Sorting|Delivery) → "),
        ([Singleton(Lost)], r"Lost depends on Unheard, which is not known: import it at run time"),
    ],
)
def test_lines_that_do_not_fit_stop_the_start_with_one_line(lines: list[Singleton[Any]], problem: str) -> None:
    with pytest.raises(WiringError, match=problem) as caught:
        ContainerFactory(overrides=lines)()
    assert "\n" not in str(caught.value)


async def test_an_embedding_program_gets_an_exception_for_a_missing_redis(database_url: str) -> None:
    container = ContainerFactory(
        overrides=[
            Object(DatabaseSettings(database_url=SecretStr(database_url)), interface=DatabaseSettings),
            Object(RedisSettings(redis_url=SecretStr("redis://:hunter2@127.0.0.1:1/0")), interface=RedisSettings),
        ]
    )()
    with pytest.raises(RedisUnavailableError, match=r"cannot use Redis at 127\.0\.0\.1:1 \(REDIS_URL\)") as refused:
        async with container.running():
            pass
    assert "hunter2" not in str(refused.value)


async def test_an_embedding_program_gets_an_exception_for_a_missing_database() -> None:
    nowhere = DatabaseSettings(database_url=SecretStr("postgresql://me:hunter2@127.0.0.1:1/x"))
    container = ContainerFactory(
        overrides=[
            Object(nowhere, interface=DatabaseSettings),
            Object(RedisSettings(redis_url=SecretStr("memory://")), interface=RedisSettings),
        ]
    )()
    with pytest.raises(DatabaseUnavailableError, match=r"cannot reach PostgreSQL at 127\.0\.0\.1:1/x"):
        async with container.running():
            pass
