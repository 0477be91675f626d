"""The bodies of the tutorials' tasks."""

import time
from datetime import timedelta

from django.utils import timezone

from benchmarks.retention.django_peer.models import RefreshSession, Todo, User


def cleanup_old_sessions(days_old: int) -> bool:
    """Delete the refresh sessions that expired more than `days_old` days ago."""
    cutoff_date = timezone.now() - timedelta(days=days_old)
    RefreshSession.objects.filter(expires_at__lt=cutoff_date).delete()
    return True


def cleanup_completed_todos(over: float) -> bool:
    """Delete the completed todos of each active user; false if the monotonic clock passed `over` meanwhile."""
    users = list(User.objects.filter(is_active=True))
    for user in users:
        Todo.objects.filter(user=user, is_completed=True).delete()
        if time.monotonic() > over:
            return False
    return True
