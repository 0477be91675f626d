"""What a caller may ask of a run."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypedDict

from kiqstart.retention.progress import ProgressCallback


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """After how many rows, and how many seconds from its beginning, a run stops; None for no limit."""

    rows: int | None = None
    seconds: float | None = None


class RunOptions(TypedDict, total=False):
    """What `RetentionEngine.run` takes beside the policy, for those who hand it on."""

    run_id: str | None
    limits: RunLimits | None
    shards: int
    invite: Callable[[int], Awaitable[None]] | None
    progress: ProgressCallback | None
    stop: asyncio.Event | None
