"""What the role of a worker needs in PostgreSQL, and nothing more."""

from collections.abc import Mapping, Sequence
from typing import Final

from kiqstart.retention import RETENTION_RIGHTS
from todo_service.core.session.models import RefreshSession
from todo_service.core.todo.models import Todo
from todo_service.core.user.models import User

# A clean-up locks the rows of a batch, for which PostgreSQL asks for UPDATE of some column.
_CLEAN_UP: Final = ("SELECT", "DELETE", "UPDATE (id)")

WORKER_RIGHTS: Final[Mapping[str, Sequence[str]]] = {
    User.__tablename__: ("SELECT",),
    RefreshSession.__tablename__: _CLEAN_UP,
    Todo.__tablename__: _CLEAN_UP,
    **RETENTION_RIGHTS,
}
