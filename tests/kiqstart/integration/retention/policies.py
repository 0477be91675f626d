"""Policies that many tests run."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import InstrumentedAttribute

from kiqstart.retention.policy import RetentionPolicy, WalkKind
from todo_service.core.session.models import RefreshSession
from todo_service.core.todo.models import Todo

WALKS = [WalkKind.KEY, WalkKind.PAGES]


def expired_sessions(walk: WalkKind | None, cutoff: datetime | None = None) -> RetentionPolicy:
    return RetentionPolicy(
        name="sessions",
        model=RefreshSession,
        predicate=RefreshSession.expires_at < (cutoff or datetime.now(UTC)),
        cursor=(RefreshSession.expires_at,),
        walk=walk,
    )


def completed_todos(
    walk: WalkKind | None, *, error_key: tuple[InstrumentedAttribute[Any], ...] = (Todo.user_id,)
) -> RetentionPolicy:
    return RetentionPolicy(
        name="todos",
        model=Todo,
        predicate=Todo.is_completed.is_(True),
        cursor=(Todo.id,),
        walk=walk,
        error_key=error_key,
    )
