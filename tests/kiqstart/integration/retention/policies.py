"""Policies that many tests run."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.orm import InstrumentedAttribute

from kiqstart.retention.policy import RetentionPolicy, ScanKind
from todo_service.core.session.models import RefreshSession
from todo_service.core.todo.models import Todo

SCANS = [ScanKind.KEY, ScanKind.PAGES]
BOTH_SCANS = pytest.mark.parametrize("scan", SCANS)


def expired_sessions(scan: ScanKind | None, cutoff: datetime | None = None) -> RetentionPolicy:
    return RetentionPolicy(
        name="sessions",
        model=RefreshSession,
        predicate=RefreshSession.expires_at < (cutoff or datetime.now(UTC)),
        cursor=(RefreshSession.expires_at,),
        scan=scan,
    )


def completed_todos(
    scan: ScanKind | None, *, error_key: tuple[InstrumentedAttribute[Any], ...] = (Todo.user_id,)
) -> RetentionPolicy:
    return RetentionPolicy(
        name="todos",
        model=Todo,
        predicate=Todo.is_completed.is_(True),
        cursor=(Todo.id,),
        scan=scan,
        error_key=error_key,
    )
