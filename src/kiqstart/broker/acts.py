"""The log of acts: who paused, resumed, ran, cancelled, retried or purged what, when and why."""

import getpass
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from logging import getLogger
from typing import Final, Self

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.script import Script
from kiqstart.observability.redaction import redact
from kiqstart.redis.commands import AsyncCommands, Value

logger = getLogger(__name__)

_RECORD: Final = Script[int]("record_acts")
MOST_KEPT: Final = 10_000
SECONDS_KEPT: Final = 90 * 24 * 3600
_LONGEST: Final = 1000
_FIELDS: Final = ("act", "target", "detail", "user", "host", "reason")


class ActKind(StrEnum):
    """What an operator may do."""

    PAUSE_SCHEDULE = "pause-schedule"
    RESUME_SCHEDULE = "resume-schedule"
    RUN_SCHEDULE = "run-schedule"
    REMOVE_SCHEDULE = "remove-schedule"
    PAUSE_QUEUE = "pause-queue"
    RESUME_QUEUE = "resume-queue"
    PAUSE_TASK = "pause-task"
    RESUME_TASK = "resume-task"
    RUN_TASK = "run-task"
    CANCEL_TASK = "cancel-task"
    RETRY_RUN = "retry-run"
    RETRY_DEAD = "retry-dead"
    PURGE_DEAD = "purge-dead"


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Who acts.

    Args:
        user: of the machine, or of a page's login.
        host: of the machine.
    """

    user: str
    host: str

    @classmethod
    def of_this_process(cls) -> Self:
        """The user of this process; behind `sudo`, who has called it."""
        return cls(user=os.environ.get("SUDO_USER") or _user(), host=socket.gethostname())


@dataclass(frozen=True, kw_only=True)
class Act:
    """What was done.

    Args:
        kind: an `ActKind`, or that of a later version.
        target: to what: a name, an id, or which dead letters.
        detail: what became of it, such as the id of the task that was sent.
    """

    kind: str
    target: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class RecordedAct(Act):
    """An act as it is kept.

    Args:
        at: when, by Redis' clock.
        by: who.
        reason: why, in the operator's words; '' if no reason was given.
    """

    at: datetime
    by: Operator
    reason: str


class Acts:
    """The log of acts of one broker.

    Args:
        redis: an async client.
        keys: the broker's names.
    """

    def __init__(self, redis: AsyncCommands, keys: QueueKeys) -> None:
        self._redis = redis
        self._keys = keys

    async def record(self, acts: Sequence[Act], *, by: Operator, reason: str = "") -> None:
        """Keep acts, and log them. Texts are kept without secrets, and cut to 1,000 characters.

        Raises:
            RedisError: Redis is away, and they are not kept.
        """
        words: list[Value] = []
        for act in acts:
            values = [_kept(text) for text in (act.kind, act.target, act.detail, by.user, by.host, reason)]
            logger.info("%s %s by %s@%s: %s", *values[:2], *values[3:5], values[5] or "no reason given")
            for name, value in zip(_FIELDS, values, strict=True):
                words += [name, value]
        if words:
            limits: list[Value] = [MOST_KEPT, SECONDS_KEPT * 1000, len(_FIELDS)]
            await _RECORD(self._redis, [self._keys.acts], [*limits, *words])

    async def newest(self, limit: int) -> list[RecordedAct]:
        """The newest acts, newest first, none that is older than 90 days."""
        seconds, _ = await self._redis.time()
        oldest = max(seconds - SECONDS_KEPT, 0) * 1000
        found = await self._redis.xrevrange(self._keys.acts, min=str(oldest), count=limit)
        return [_read(entry.decode(), fields) for entry, fields in found]


def _read(entry: str, fields: dict[bytes, bytes]) -> RecordedAct:
    kind, target, detail, user, host, reason = (
        fields.get(name.encode(), b"").decode(errors="backslashreplace") for name in _FIELDS
    )
    return RecordedAct(
        at=datetime.fromtimestamp(int(entry.partition("-")[0]) / 1000, UTC),
        kind=kind,
        target=target,
        detail=detail,
        by=Operator(user=user, host=host),
        reason=reason,
    )


def _kept(text: str) -> str:
    # An argument of a command line may hold what UTF-8 cannot.
    return redact(text)[:_LONGEST].encode(errors="backslashreplace").decode()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        # A container's user may have a number only.
        return str(os.getuid())
