"""Which of taskiq's published tests are run with which broker, and why the others say nothing about kiqstart."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SCHEDULER: Final = "taskiq's own scheduler and label source: kiqstart's schedules are tested by themselves"
COMMAND_LINE: Final = "parts of taskiq's command line, which run as they are"
FORMATS: Final = "other formats than JSON, which need further packages and are never sent here"
ADMIN: Final = "needs a package that invents values, to show what taskiq's admin site is sent"
DELAYS: Final = "expects a retry within a second: here it waits for its 5 s, which taskiq's in-memory broker ignores"
IN_MEMORY: Final = "what only a broker without a queue does: starts as client and worker at once, knows all tasks"
RESULTS: Final = "takes a result by hand out of taskiq's in-memory result backend"
ERRORS: Final = "expects the very object that was raised: an error that pydantic alone can make is told by its name"

SPACES: Final = "compares a message byte for byte: kiqstart's JSON is the same without spaces"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is run with a broker.

    Args:
        paths: what is run.
        without: what of it is left out, and why: paths and names of tests, as pytest has them.
        tests: how many tests this leaves.
        received: how many of them call the receiver, through a broker or by themselves.
    """

    paths: tuple[str, ...]
    without: Mapping[str, str] = field(default_factory=dict[str, str])
    tests: int
    received: int


# The tests that make an in-memory broker.
_BROKERS: Final = (
    "tests/brokers",
    "tests/depends",
    "tests/formatters",
    "tests/middlewares/test_task_retry.py",
    "tests/opentelemetry",
    "tests/receiver/test_receiver.py",
    "tests/test_exceptions_flow.py",
    "tests/test_kicker.py",
    "tests/test_requeue.py",
    "tests/test_retry_task.py",
)
_RETRY: Final = "tests/middlewares/test_task_retry.py::test_"
_IN_MEMORY: Final = "tests/brokers/test_inmemory.py::test_"
_SLOW_RETRIES: Final = {
    f"{_RETRY}per_task_exc_types_matching[SmartRetryMiddleware]": DELAYS,
    f"{_RETRY}per_task_exc_types_override_global[SmartRetryMiddleware]": DELAYS,
    f"{_RETRY}retry_of_custom_exc_types_of_smart_middleware": DELAYS,
}
_BYTES: Final = {"tests/formatters/test_proxy_formatter.py::test_proxy_dumps": SPACES}

SELECTIONS: Final = {
    "taskiq": Selection(
        paths=("tests",),
        without={
            "tests/scheduler": SCHEDULER,
            "tests/cli/scheduler": SCHEDULER,
            "tests/api/test_scheduler.py": SCHEDULER,
            "tests/cli/test_utils.py": COMMAND_LINE,
            "tests/cli/worker/test_args.py": COMMAND_LINE,
            "tests/cli/worker/test_log_collector.py": COMMAND_LINE,
            "tests/serializers/test_serializers.py": FORMATS,
            "tests/test_task.py": FORMATS,
            "tests/middlewares/admin_middleware": ADMIN,
        },
        tests=234,
        received=91,
    ),
    "delaying": Selection(paths=_BROKERS, without={**_SLOW_RETRIES, **_BYTES}, tests=99, received=73),
    "redis": Selection(
        paths=_BROKERS,
        without={
            **_SLOW_RETRIES,
            f"{_IN_MEMORY}cannot_listen": IN_MEMORY,
            f"{_IN_MEMORY}startup": IN_MEMORY,
            f"{_IN_MEMORY}shutdown": IN_MEMORY,
            "tests/test_exceptions_flow.py::test_inmemory_broker_raises_unknown_task_error": IN_MEMORY,
            f"{_RETRY}wait_result_error": RESULTS,
            f"{_RETRY}wait_result_no_result": RESULTS,
            "tests/depends/test_progress_tracker.py::test_progress_tracker_validation_error": ERRORS,
            **_BYTES,
        },
        tests=92,
        received=70,
    ),
}
