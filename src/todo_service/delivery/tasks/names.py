"""The names that tasks have on the wire."""

from enum import StrEnum


class TaskName(StrEnum):
    """Every task. Dotted names group by domain: `todo.cleanup`, `user.notifications.send`."""

    PING = "ping"
    SESSION_CLEANUP = "session.cleanup"
    TODO_CLEANUP = "todo.cleanup"
