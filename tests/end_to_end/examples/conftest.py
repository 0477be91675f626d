import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from tests.end_to_end.examples.environment import EXAMPLES, Example, session_environment

from kiqstart.testing.servers import Servers, own_database


@pytest.fixture(scope="session")
def programs(session_folder: Path) -> Path:
    """Where the commands are of an environment with the built wheel and what the examples' READMEs install."""
    return session_environment(session_folder)


@pytest.fixture
def example(
    programs: Path, tmp_path: Path, empty_database_url: str, redis_url: str, key_prefix: str
) -> Callable[[str], Example]:
    """Copies an example, to be run on an empty database and on Redis keys of the test's own."""

    def copy(name: str) -> Example:
        folder = tmp_path / name
        shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        environment = {
            "DATABASE_URL": empty_database_url,
            "REDIS_URL": redis_url,
            "TASKS_KEY_PREFIX": key_prefix,
            "MAIL_PREFIX": key_prefix,
        }
        return Example(folder=folder, programs=programs, environment=environment)

    return copy


@pytest.fixture
def empty_database_url(servers: Servers) -> Generator[str]:
    with own_database(servers.database_url) as url:
        yield url
