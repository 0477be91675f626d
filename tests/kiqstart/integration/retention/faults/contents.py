"""What others do to a table while runs delete from it, and what must be left of it in the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from sqlalchemy import (
    ColumnElement,
    Executable,
    Insert,
    Row,
    Table,
    Update,
    delete,
    insert,
    inspect,
    literal,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.kiqstart.integration.retention.faults.tables import NOW, Entry, TestedBase

Key = tuple[Any, ...]
Values = tuple[Any, ...]

_SHORT_LOCK_TIMEOUT: Final = text("SET LOCAL lock_timeout = '10ms'")


@dataclass(kw_only=True)
class Contents:
    """A table's rows as others than the runs have made them. Each of their changes is a transaction of its own.

    `rows` has what each row was last, whether a run has deleted it since or not. A change of a row that a run has
    deleted or holds a lock on does nothing.
    """

    pool: AsyncEngine
    model: type[Entry]
    references: type[TestedBase]
    rows: dict[Key, Values] = field(default_factory=dict[Key, Values])
    pinned: set[Key] = field(default_factory=set[Key])
    _locks: dict[Key, AsyncConnection] = field(default_factory=dict[Key, AsyncConnection])

    @property
    def table(self) -> Table[Any]:
        """The table."""
        return cast("Table[Any]", inspect(self.model).local_table)

    async def insert(self, keys: Sequence[Key], expires_at: Sequence[int]) -> None:
        """Insert rows, in this order."""
        values = [
            {**self._named(key), "expires_at": expiry, "note": f"{key} " + "x" * 100}
            for key, expiry in zip(keys, expires_at, strict=True)
        ]
        if values:
            await self._change(insert(self.table).values(values))

    async def update(self, key: Key, **values: object) -> None:
        """Change a row."""
        await self._change(update(self.table).where(self._is(key)).values(values))

    async def delete(self, key: Key) -> None:
        """Delete a row."""
        for row in await self._commit(delete(self.table).where(self._is(key)).returning(*self.table.columns)) or ():
            del self.rows[self._key_of(row)]

    async def pin(self, key: Key) -> None:
        """Refer to a row, so that it cannot be deleted."""
        if await self._commit(insert(self.references).values(self._named(key)).returning(literal(1))) is not None:
            self.pinned.add(key)

    async def lock(self, key: Key) -> None:
        """Hold a lock on a row, or let go of it."""
        if (held := self._locks.pop(key, None)) is not None:
            await held.close()
            return
        connection = await self.pool.connect()
        await connection.execute(_SHORT_LOCK_TIMEOUT)
        try:
            await connection.execute(select(self.table).where(self._is(key)).with_for_update())
        except DBAPIError:
            await connection.close()
        else:
            self._locks[key] = connection

    async def unlock_all(self) -> None:
        """Let go of all locks."""
        for key in list(self._locks):
            await self.lock(key)

    async def left(self) -> dict[Key, Values]:
        """The rows that are there."""
        async with self.pool.connect() as connection:
            return {self._key_of(row): tuple(row) for row in await connection.execute(select(self.table))}

    def is_expired(self, key: Key) -> bool:
        """Whether a row was the policy's when it was last changed."""
        values = dict(zip(self.table.columns.keys(), self.rows[key], strict=True))
        return int(values["expires_at"]) < NOW

    async def _change(self, statement: Insert | Update) -> None:
        returning = cast("Executable", statement.returning(*self.table.columns))
        for row in await self._commit(returning) or ():
            self.rows[self._key_of(row)] = tuple(row)

    async def _commit(self, statement: Executable) -> Sequence[Row[*tuple[Any, ...]]] | None:
        """Return the statement's rows, or None if it was refused or others hold locks."""
        async with self.pool.connect() as connection:
            await connection.execute(_SHORT_LOCK_TIMEOUT)
            try:
                rows = (await connection.execute(statement)).all()
                await connection.commit()
            except DBAPIError:
                return None
            return rows

    @property
    def _key(self) -> tuple[Any, ...]:
        return tuple(self.table.primary_key.columns)

    def _named(self, key: Key) -> dict[str, Any]:
        return {column.name: value for column, value in zip(self._key, key, strict=True)}

    def _is(self, key: Key) -> ColumnElement[bool]:
        return tuple_(*self._key) == tuple_(*key)

    def _key_of(self, row: Row[*tuple[Any, ...]]) -> Key:
        return tuple(row._mapping[column] for column in self._key)
