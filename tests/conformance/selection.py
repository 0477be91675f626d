"""Which of taskiq's published tests say nothing about kiqstart, and why."""

from typing import Final

SCHEDULER: Final = "taskiq's own scheduler and label source: kiqstart's schedules are tested by themselves"
COMMAND_LINE: Final = "parts of taskiq's command line, which run as they are"
FORMATS: Final = "other formats than JSON, which need further packages and are never sent here"
ADMIN: Final = "needs a package that invents values, to show what taskiq's admin site is sent"
DELAYS: Final = "expects a retry within a second: kiqstart's in-memory broker waits for its 5 s, taskiq's does not"

# Paths and names of tests, as pytest has them.
NOT_APPLICABLE: Final = {
    "tests/scheduler": SCHEDULER,
    "tests/cli/scheduler": SCHEDULER,
    "tests/api/test_scheduler.py": SCHEDULER,
    "tests/cli/test_utils.py": COMMAND_LINE,
    "tests/cli/worker/test_args.py": COMMAND_LINE,
    "tests/cli/worker/test_log_collector.py": COMMAND_LINE,
    "tests/serializers/test_serializers.py": FORMATS,
    "tests/test_task.py": FORMATS,
    "tests/middlewares/admin_middleware": ADMIN,
}

_SMART_RETRIES: Final = "tests/middlewares/test_task_retry.py::"

# What more does not apply where another broker takes the place of taskiq's in-memory one.
NOT_APPLICABLE_TO_BROKER: Final = {
    "taskiq": {},
    "delaying": {
        f"{_SMART_RETRIES}test_per_task_exc_types_matching[SmartRetryMiddleware]": DELAYS,
        f"{_SMART_RETRIES}test_per_task_exc_types_override_global[SmartRetryMiddleware]": DELAYS,
        f"{_SMART_RETRIES}test_retry_of_custom_exc_types_of_smart_middleware": DELAYS,
    },
}
