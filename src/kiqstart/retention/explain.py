"""PostgreSQL's plans of statements: made, made and run, or in its own words."""

from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel, Field, TypeAdapter
from sqlalchemy import Executable
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

_PLAN: Final = "(FORMAT JSON)"
_RUN: Final = "(ANALYZE, BUFFERS, WAL, TIMING OFF, SUMMARY OFF, FORMAT JSON)"
_WORDS: Final = ""


class PlanNode(BaseModel):
    """What is read of a node of a plan; of one that was not run, what it came to and read is 0."""

    node_type: str = Field(alias="Node Type")
    rows: int = Field(alias="Plan Rows")
    cost: float = Field(alias="Total Cost")
    relation: str | None = Field(alias="Relation Name", default=None)
    index: str | None = Field(alias="Index Name", default=None)
    subplan: str | None = Field(alias="Subplan Name", default=None)
    actual_rows: float = Field(alias="Actual Rows", default=0)
    actual_loops: float = Field(alias="Actual Loops", default=0)
    blocks_hit: int = Field(alias="Shared Hit Blocks", default=0)
    blocks_read: int = Field(alias="Shared Read Blocks", default=0)
    blocks_dirtied: int = Field(alias="Shared Dirtied Blocks", default=0)
    wal_bytes: int = Field(alias="WAL Bytes", default=0)
    children: list["PlanNode"] = Field(alias="Plans", default=[])

    def inside_limit(self) -> "PlanNode":
        """Return what a LIMIT at the top cuts off."""
        return self.children[0] if self.node_type == "Limit" and self.children else self

    def relations(self) -> frozenset[str]:
        """Return the names of the tables and partitions that it reads."""
        return frozenset(node.relation for node in self.nodes() if node.relation is not None)

    def indexes(self) -> frozenset[str]:
        """Return the names of the indexes that it uses."""
        return frozenset(node.index for node in self.nodes() if node.index is not None)

    def nodes(self) -> Iterator["PlanNode"]:
        """Go through this node and all below it."""
        yield self
        for child in self.children:
            yield from child.nodes()


async def explain(connection: AsyncConnection, statement: ClauseElement) -> PlanNode:
    """Return the plan that PostgreSQL makes for a statement, which is not run."""
    return _read(await connection.scalar(_Explain(statement, _PLAN)))


async def run_and_explain(connection: AsyncConnection, statement: ClauseElement) -> PlanNode:
    """Run a statement, and return its plan with what each node came to, read and wrote."""
    return _read(await connection.scalar(_Explain(statement, _RUN)))


async def explain_in_words(connection: AsyncConnection, statement: ClauseElement) -> list[str]:
    """Return the plan for a statement, which is not run, a line each."""
    return list(await connection.scalars(_Explain(statement, _WORDS)))


class _Explained(BaseModel):
    plan: PlanNode = Field(alias="Plan")


_EXPLAINED: Final = TypeAdapter(list[_Explained])


def _read(answer: object) -> PlanNode:
    return _EXPLAINED.validate_python(answer)[0].plan


class _Explain(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, statement: ClauseElement, options: str) -> None:
        self.statement, self.wanted = statement, options


@compiles(_Explain, "postgresql")
def _compile(element: _Explain, compiler: SQLCompiler, **kw: object) -> str:
    return f"EXPLAIN {element.wanted} {compiler.process(element.statement, **kw)}"
