"""Tasks run as taskiq documents: its own published tests pass with kiqstart's receiver and brokers.

Without a network they fail at their first run, in one line: a skipped proof would not be missed, and what they
download is kept under `.local/`.
"""

import asyncio
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from uuid import uuid4

import pytest
from tests.conformance.published_run import PublishedRun, published_run
from tests.conformance.sdist import NoPublishedTestsError, published_tests
from tests.conformance.selection import SELECTIONS

from kiqstart.testing.servers import Servers, delete_keys_of


@pytest.fixture(scope="module")
def taskiq_tests(pytestconfig: pytest.Config) -> Path:
    try:
        return published_tests(pytestconfig.rootpath / ".local" / "taskiq-tests")
    except NoPublishedTestsError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(scope="module")
def redis(servers: Servers) -> Generator[Mapping[str, str]]:
    if servers.redis_url is None:
        pytest.fail(f"this test needs a Redis: {servers.redis}")
    prefix = f"kiqstart-test-{uuid4().hex[:12]}"
    yield {"REDIS_URL": servers.redis_url, "KEY_PREFIX": prefix}
    asyncio.run(delete_keys_of(servers.redis_url, prefix))


@pytest.fixture(scope="module")
def runs(
    taskiq_tests: Path, redis: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Generator[Mapping[str, PublishedRun]]:
    # All at once, since most of their time they wait.
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("published")
        yield {
            broker: stack.enter_context(
                published_run(taskiq_tests, broker=broker, selection=selection, environment=redis, folder=folder)
            )
            for broker, selection in SELECTIONS.items()
        }


@pytest.mark.parametrize("broker", SELECTIONS)
def test_taskiqs_tests_pass(runs: Mapping[str, PublishedRun], broker: str) -> None:
    outcome = runs[broker].outcome(seconds=110)
    assert set(outcome.tests) == {"passed"}, outcome.output
    # Whatever is left out or no longer reaches the receiver is to be noticed.
    selection = SELECTIONS[broker]
    assert (outcome.tests["passed"], outcome.received) == (selection.tests, selection.received)


@pytest.mark.parametrize("name", [*chain.from_iterable(selection.without for selection in SELECTIONS.values())])
def test_what_is_left_out_is_there(taskiq_tests: Path, name: str) -> None:
    path, _, case = name.partition("::")
    assert (taskiq_tests / path).exists()
    assert f"def {case.partition('[')[0]}(" in (taskiq_tests / path).read_text() if case else True
