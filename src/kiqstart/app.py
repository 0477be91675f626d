"""What an application consists of, for the worker, every command, and the fixtures of its tests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from taskiq import AsyncBroker, TaskiqScheduler

from kiqstart.errors import OperatorError
from kiqstart.retention.policies import RetentionPolicies
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.scheduler.table import Schedule
from kiqstart.tasks.registry import BaseTasksRegistry


class MissingPartError(OperatorError):
    """A command needs a part that the application does not have."""


class Database(Protocol):
    """An application's database: what its commands ask of it."""

    async def version(self) -> str:
        """Connect, and give the server's version.

        Raises:
            OperatorError: it cannot be reached.
        """
        ...

    async def check(self) -> str:
        """Check that the schema is the one that this version of the application works with, and give its revision.

        Raises:
            SchemaOutOfDateError: it is not; `kiqstart local` and `up` then bring a database of their own up to date.
            OperatorError: the database cannot be reached, or the role may not look.
        """
        ...

    async def upgrade(self, revision: str = "head") -> None:
        """Bring the schema up to a revision."""

    async def downgrade(self, revision: str) -> None:
        """Take the schema back to a revision; what it drops is lost."""

    async def write_migration(self, name: str) -> Path:
        """Write a migration with what the models have and the database has not; gives its path."""
        ...

    async def grant(self, role: str) -> None:
        """Give a role the least rights that a worker needs."""

    async def empty(self) -> None:
        """Delete all rows of the application's own tables, for the next test."""

    async def close(self) -> None:
        """Let all connections go; it may be asked again later, in another event loop."""


@dataclass(frozen=True, kw_only=True)
class App:
    """An application: one object that tells every command, the worker and the fixtures what there is.

    It is found by `--app module:name`, `KIQSTART_APP`, or `app = "module:name"` under `[tool.kiqstart]` in the nearest
    pyproject.toml; the name may be that of a function without arguments which returns it.

    Args:
        broker: sends and runs the tasks.
        registry: names them.
        scheduler: sends what is due by itself.
        retention: the policies by which rows are deleted.
        database: the application's database, where commands are to migrate and check it.
        configure_logging: sets up the log of a worker or a scheduler, in place of taskiq's.
        names: what stands ready in `kiqstart shell`, beside `app`, `broker` and `registry`.
    """

    broker: AsyncBroker
    registry: BaseTasksRegistry | None = None
    scheduler: TaskiqScheduler | None = None
    retention: RetentionPolicies | None = None
    database: Database | None = None
    configure_logging: Callable[[], None] | None = None
    names: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def schedules(self) -> Sequence[Schedule]:
        """The schedules that the code has, in the order of their table; those that were added later are in Redis."""
        sources = self.scheduler.sources if self.scheduler is not None else []
        return [one for source in sources if isinstance(source, DurableScheduleSource) for one in source.table]

    async def migrate(self) -> None:
        """Bring the schema of the application up to date, and the retention engine's tables where it has policies.

        Raises:
            OperatorError: that cannot be done.
        """
        if self.database is not None:
            await self.database.upgrade()
        if self.retention is not None:
            await self.retention.migrate()

    async def close(self) -> None:
        """Let all connections to the database go; the broker has a `shutdown` of its own."""
        if self.retention is not None:
            await self.retention.engine.close()
        if self.database is not None:
            await self.database.close()

    def needs_database(self) -> Database:
        """The database.

        Raises:
            MissingPartError: the application has none.
        """
        if self.database is None:
            raise MissingPartError("this application has no database: give App(database=…) one")
        return self.database

    def needs_retention(self) -> RetentionPolicies:
        """The retention policies.

        Raises:
            MissingPartError: the application has none.
        """
        if self.retention is None:
            raise MissingPartError("this application has no retention policies: give App(retention=…) them")
        return self.retention

    def needs_scheduler(self) -> TaskiqScheduler:
        """The scheduler.

        Raises:
            MissingPartError: the application has none.
        """
        if self.scheduler is None:
            raise MissingPartError("this application has no scheduler: give App(scheduler=…) one")
        return self.scheduler
