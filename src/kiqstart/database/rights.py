"""Whether the role of DATABASE_URL may do what is asked of it, before anything is half done."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.errors import OperatorError

# By table, as GRANT has them. `UPDATE (id)` means that of any column: PostgreSQL asks for one where rows are locked.
Rights = Mapping[str, Sequence[str]]

_MISSING: Final = """
SELECT privilege, quote_ident(current_user)
FROM unnest(CAST(:privileges AS text[])) WITH ORDINALITY AS needed (privilege, place)
WHERE CASE WHEN privilege LIKE '% (%'
    THEN NOT has_any_column_privilege(to_regclass(:name), split_part(privilege, ' ', 1))
    ELSE NOT has_table_privilege(to_regclass(:name), privilege) END
ORDER BY place
"""


class MissingDatabaseRightsError(OperatorError):
    """The role lacks rights. The message has the statements that give them."""


async def grant_rights(connection: AsyncConnection, role: str, rights: Rights) -> None:
    """Give a role its rights, and that to use their schema.

    Raises:
        DBAPIError: there is no such role, or it is not for this one to give.
    """
    quote = connection.dialect.identifier_preparer.quote_identifier
    schema = str(await connection.scalar(text("SELECT current_schema()")))
    await connection.execute(text(f"GRANT USAGE ON SCHEMA {quote(schema)} TO {quote(role)}"))
    for table, privileges in rights.items():
        await connection.execute(text(f"GRANT {', '.join(privileges)} ON {quote(table)} TO {quote(role)}"))


async def check_rights(connection: AsyncConnection, needed: Rights) -> None:
    """Ask PostgreSQL, which tries nothing; tables that are not there are passed over.

    Raises:
        MissingDatabaseRightsError: one line with what is to be granted.
    """
    if await connection.scalar(text("SELECT current_schema() IS NULL")):
        role = await connection.scalar(text("SELECT quote_ident(current_user)"))
        raise MissingDatabaseRightsError(
            f"the role {role} may use no schema: run `GRANT USAGE ON SCHEMA public TO {role}` as the schema's owner"
        )
    grants: list[str] = []
    for table, privileges in needed.items():
        asked = {"name": table, "privileges": list(privileges)}
        missing = (await connection.execute(text(_MISSING), asked)).all()
        if missing:
            grants.append(f"GRANT {', '.join(one.privilege for one in missing)} ON {table} TO {missing[0][1]}")
    if grants:
        raise MissingDatabaseRightsError(f"the role lacks rights: run `{'; '.join(grants)}` as the tables' owner")
