"""Background tasks for async Python on taskiq: what an application is made of.

The names here, and those of `kiqstart.broker`, `kiqstart.scheduler`, `kiqstart.retention`, `kiqstart.dashboard` and
`kiqstart.testing`, are all that an application needs. Each is imported when it is asked for, so a program pays for what
it uses.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from kiqstart.lazy_names import lazy_names

if TYPE_CHECKING:
    from kiqstart.app import App, Database, MissingPartError
    from kiqstart.broker.task_log import TaskLogMiddleware
    from kiqstart.broker.tracing.middleware import TracingMiddleware
    from kiqstart.cleanups.runner import (
        CleanupDelayedError,
        CleanupOptions,
        CleanupProgress,
        CleanupResult,
        CleanupRunner,
        retrying_transient_errors,
    )
    from kiqstart.cleanups.task import RetentionTask
    from kiqstart.database.alembic_database import (
        AlembicDatabase,
        DatabaseUnavailableError,
        MigrationError,
        SchemaOutOfDateError,
    )
    from kiqstart.database.rights import MissingDatabaseRightsError
    from kiqstart.errors import OperatorError
    from kiqstart.observability.logging import LogSettings, configure_logging
    from kiqstart.observability.redaction import conceal
    from kiqstart.observability.task_fields import TaskLogFilter, add_task_fields
    from kiqstart.processes.exits import exit_on_operator_error
    from kiqstart.processes.shutdown import ShutdownSignal
    from kiqstart.settings import SettingsError, check_settings, load_settings
    from kiqstart.tasks.arguments import ArgumentsMiddleware
    from kiqstart.tasks.bulk import BulkSendFailedError, Call
    from kiqstart.tasks.controller import Controller
    from kiqstart.tasks.errors import (
        InvalidTaskArgumentsError,
        ProcessLostError,
        TaskInterruptedError,
        UnsupportedTaskError,
        WiringError,
        source_file,
    )
    from kiqstart.tasks.progress import report_progress
    from kiqstart.tasks.registration import register_task
    from kiqstart.tasks.registry import BaseTasksRegistry, TaskReference
    from kiqstart.tasks.results.errors import (
        ResultRefusedError,
        ResultTooLargeError,
        TaskCancelledError,
        TaskCutOffError,
        TaskExitedError,
        UnreadableResultError,
        UnserializableResultError,
        WorkerLostError,
    )
    from kiqstart.tasks.sent_task import ResultTimeoutError, SentTask
    from kiqstart.tasks.sync_runner import SyncRunner, sync
    from kiqstart.tasks.task import Task
    from kiqstart.tasks.uniqueness import UniquenessMiddleware

__all__ = [
    "AlembicDatabase",
    "App",
    "ArgumentsMiddleware",
    "BaseTasksRegistry",
    "BulkSendFailedError",
    "Call",
    "CleanupDelayedError",
    "CleanupOptions",
    "CleanupProgress",
    "CleanupResult",
    "CleanupRunner",
    "Controller",
    "Database",
    "DatabaseUnavailableError",
    "InvalidTaskArgumentsError",
    "LogSettings",
    "MigrationError",
    "MissingDatabaseRightsError",
    "MissingPartError",
    "OperatorError",
    "ProcessLostError",
    "ResultRefusedError",
    "ResultTimeoutError",
    "ResultTooLargeError",
    "RetentionTask",
    "SchemaOutOfDateError",
    "SentTask",
    "SettingsError",
    "ShutdownSignal",
    "SyncRunner",
    "Task",
    "TaskCancelledError",
    "TaskCutOffError",
    "TaskExitedError",
    "TaskInterruptedError",
    "TaskLogFilter",
    "TaskLogMiddleware",
    "TaskReference",
    "UniquenessMiddleware",
    "UnreadableResultError",
    "UnserializableResultError",
    "UnsupportedTaskError",
    "WiringError",
    "WorkerLostError",
    "add_task_fields",
    "check_settings",
    "conceal",
    "configure_logging",
    "exit_on_operator_error",
    "load_settings",
    "register_task",
    "report_progress",
    "retrying_transient_errors",
    "source_file",
    "sync",
]
# `from kiqstart import *` takes what is installed.
if find_spec("opentelemetry") is not None:
    __all__ += ["TracingMiddleware"]

__getattr__ = lazy_names(
    __name__,
    {
        "kiqstart.app": "App Database MissingPartError",
        "kiqstart.broker.tracing.middleware": "TracingMiddleware",
        "kiqstart.cleanups.runner": (
            "CleanupDelayedError CleanupOptions CleanupProgress CleanupResult CleanupRunner retrying_transient_errors"
        ),
        "kiqstart.cleanups.task": "RetentionTask",
        "kiqstart.database.alembic_database": (
            "AlembicDatabase DatabaseUnavailableError MigrationError SchemaOutOfDateError"
        ),
        "kiqstart.database.rights": "MissingDatabaseRightsError",
        "kiqstart.errors": "OperatorError",
        "kiqstart.broker.task_log": "TaskLogMiddleware",
        "kiqstart.observability.logging": "LogSettings configure_logging",
        "kiqstart.observability.redaction": "conceal",
        "kiqstart.observability.task_fields": "TaskLogFilter add_task_fields",
        "kiqstart.processes.exits": "exit_on_operator_error",
        "kiqstart.processes.shutdown": "ShutdownSignal",
        "kiqstart.settings": "SettingsError check_settings load_settings",
        "kiqstart.tasks.arguments": "ArgumentsMiddleware",
        "kiqstart.tasks.bulk": "BulkSendFailedError Call",
        "kiqstart.tasks.controller": "Controller",
        "kiqstart.tasks.errors": (
            "InvalidTaskArgumentsError ProcessLostError TaskInterruptedError UnsupportedTaskError WiringError "
            "source_file"
        ),
        "kiqstart.tasks.progress": "report_progress",
        "kiqstart.tasks.registration": "register_task",
        "kiqstart.tasks.registry": "BaseTasksRegistry TaskReference",
        "kiqstart.tasks.results.errors": (
            "ResultRefusedError ResultTooLargeError TaskCancelledError TaskCutOffError TaskExitedError "
            "UnreadableResultError UnserializableResultError WorkerLostError"
        ),
        "kiqstart.tasks.sent_task": "ResultTimeoutError SentTask",
        "kiqstart.tasks.sync_runner": "SyncRunner sync",
        "kiqstart.tasks.task": "Task",
        "kiqstart.tasks.uniqueness": "UniquenessMiddleware",
    },
)
