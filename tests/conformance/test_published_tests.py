"""Tasks run as taskiq documents: its own published tests pass with kiqstart's receiver and brokers.

Without a network they fail at their first run, in one line: a skipped proof would not be missed, and what they
download is kept under `.local/`.
"""

from collections.abc import Generator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.conformance.published_run import PublishedRun, published_run
from tests.conformance.sdist import NoPublishedTestsError, published_tests
from tests.conformance.selection import NOT_APPLICABLE, NOT_APPLICABLE_TO_BROKER


@pytest.fixture(scope="module")
def taskiq_tests(pytestconfig: pytest.Config) -> Path:
    try:
        return published_tests(pytestconfig.rootpath / ".local" / "taskiq-tests")
    except NoPublishedTestsError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(scope="module")
def runs(taskiq_tests: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Mapping[str, PublishedRun]]:
    # All at once, since most of their time they wait.
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("published")
        yield {
            broker: stack.enter_context(
                published_run(
                    taskiq_tests, broker=broker, without=[*NOT_APPLICABLE, *further], environment={}, folder=folder
                )
            )
            for broker, further in NOT_APPLICABLE_TO_BROKER.items()
        }


@pytest.mark.parametrize(("broker", "tests", "received"), [("taskiq", 234, 91), ("delaying", 231, 88)])
def test_taskiqs_tests_pass(runs: Mapping[str, PublishedRun], broker: str, tests: int, received: int) -> None:
    outcome = runs[broker].outcome(seconds=110)
    assert set(outcome.tests) == {"passed"}, outcome.output
    # Whatever is left out or no longer reaches the receiver is to be noticed.
    assert outcome.tests["passed"] >= tests
    assert outcome.received >= received


def test_all_that_is_left_out_is_there(taskiq_tests: Path) -> None:
    for name in [*NOT_APPLICABLE, *(name for further in NOT_APPLICABLE_TO_BROKER.values() for name in further)]:
        path, _, case = name.partition("::")
        assert (taskiq_tests / path).exists(), name
        assert f"def {case.partition('[')[0]}(" in (taskiq_tests / path).read_text() if case else True, name
