"""Mapped classes of every kind, and predicates for them, that hypothesis makes up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    Text,
    TextClause,
    and_,
    case,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, aliased, column_property, configure_mappers, synonym

Model = type[DeclarativeBase]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 60
NAMES = [
    "plain",
    "Upper Case",
    "select",
    "a%b",
    "50%%s",
    "%(x)s",
    "c:d",
    ":at",
    'q"t',
    "it's",
    "x.y",
    "ünï",
    "back\\slash",
]
SCHEMAS = [None, "public", 'Sch%ema:"x"']
names = st.sampled_from(NAMES)


@dataclass
class Made:
    """A generated table with its classes; `model` is that of the policy.

    `after` is run when the tables are there, `later` when they have rows. `refused` says why no policy on the model can
    be run at all, `halves` which tables have the other halves of rows.
    """

    metadata: MetaData
    model: Model
    # Classes that share the model's table, or part of it.
    relatives: tuple[Model, ...] = ()
    other: Model | None = None
    after: list[str] = field(default_factory=list[str])
    later: list[str] = field(default_factory=list[str])
    refused: str | None = None
    halves: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Named:
    """A predicate, and whether it may be refused, since it names rows of more than the policy's class."""

    predicate: Any  # a condition, or text
    may_be_refused: bool = False


def quoted(*parts: str | None) -> str:
    """Write a name as SQL does."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts if part)


class Old:
    """What a mixin and hybrids add to a class."""

    @hybrid_property
    def moment(self) -> Any:  # noqa: ANN401 - an attribute of the class, or its value
        return self.at  # type: ignore[attr-defined]

    @hybrid_property
    def is_even(self) -> Any:  # noqa: ANN401 - as above
        return self.number % 2 == 0  # type: ignore[attr-defined]


def _columns(called: dict[str, str]) -> dict[str, Any]:
    """Return the attributes of a class: columns that are called otherwise than their attributes."""
    number = Column(called["number"], Integer, key="number", nullable=False)
    return {
        "id": Column(called["id"], Integer, key="id", primary_key=True, autoincrement=False),
        "at": Column(called["at"], DateTime(timezone=True), key="at", nullable=False, index=True),
        "number": number,
        "note": Column(called["note"], Text, key="note"),
        "kind": Column(called["kind"], Text, key="kind", nullable=False, server_default="base"),
        "when": synonym("at"),
        "double": column_property(number * 2),
    }


@st.composite
def models(draw: st.DrawFn) -> Made:
    """Make a class, what it inherits from and what inherits from it, and a table beside it that refers to it."""
    metadata = MetaData(schema=draw(st.sampled_from(SCHEMAS)))
    # Anonymous constraint names would be made of the odd ones, and be the same for two tables.
    base: Model = type("Generated", (DeclarativeBase,), {"metadata": metadata})
    attributes = draw(st.permutations(NAMES))
    called: dict[str, str] = dict(zip(("id", "at", "number", "note", "kind"), attributes, strict=False))
    table, second = draw(st.lists(names, min_size=2, max_size=2, unique=True))
    build = draw(st.sampled_from(list(KINDS.values())))
    made = build(base, table, second, called, draw)
    owner = made.model.__mapper__.base_mapper.local_table if made.refused is None else None
    if owner is not None:
        made.other = type(
            "Other",
            (base,),
            {
                "__tablename__": "others",
                "id": Column(Integer, primary_key=True),
                "owner": Column(Integer, nullable=False),
                "gone": Column(Integer, nullable=False),
            },
        )
    configure_mappers()
    return made


def _plain(base: Model, table: str, second: str, called: dict[str, str], draw: st.DrawFn) -> Made:
    del second, draw
    return Made(base.metadata, type("Plain", (Old, base), {"__tablename__": table, **_columns(called)}))


def _shared(base: Model, table: str, second: str, called: dict[str, str], draw: st.DrawFn) -> Made:
    """Single-table inheritance, of two steps."""
    del second
    kind: Any = draw(st.sampled_from(["kind", "expression", "none"]))
    columns = _columns(called)
    on = {
        "kind": columns["kind"],
        "expression": case(
            (columns["number"] % 3 == 0, literal("base")),
            (columns["number"] % 3 == 1, literal("child")),
            else_=literal("grandchild"),
        ),
        "none": None,
    }[kind]

    def arguments(name: str) -> dict[str, Any]:
        return {"__mapper_args__": {} if on is None else {"polymorphic_identity": name}}

    top = type(
        "Top",
        (Old, base),
        {
            "__tablename__": table,
            **columns,
            "__mapper_args__": {"polymorphic_on": on, **arguments("base")["__mapper_args__"]},
        },
    )
    child = type("Child", (top,), arguments("child"))
    grandchild = type("Grandchild", (child,), arguments("grandchild"))
    model, *relatives = draw(st.permutations([top, child, grandchild]))
    return Made(base.metadata, model, tuple(relatives))


def _joined(base: Model, table: str, second: str, called: dict[str, str], draw: st.DrawFn) -> Made:
    """Joined inheritance: of the child each row lies in two tables, so only the base can be the model."""
    columns = _columns(called)
    top = type(
        "Top",
        (Old, base),
        {
            "__tablename__": table,
            **columns,
            "__mapper_args__": {"polymorphic_on": columns["kind"], "polymorphic_identity": "base"},
        },
    )
    child = type(
        "Child",
        (top,),
        {
            "__tablename__": second,
            "id": Column("id", ForeignKey(columns["id"], ondelete="CASCADE"), primary_key=True),
            "__mapper_args__": {"polymorphic_identity": "child"},
        },
    )
    if draw(st.booleans()):
        return Made(base.metadata, top, halves=frozenset({second}))
    return Made(base.metadata, child, refused="several tables")


def _concrete(base: Model, table: str, second: str, called: dict[str, str], draw: st.DrawFn) -> Made:
    top = type("Top", (Old, base), {"__tablename__": table, **_columns(called)})
    child = type("Child", (top,), {"__tablename__": second, **_columns(called), "__mapper_args__": {"concrete": True}})
    model, relative = draw(st.permutations([top, child]))
    return Made(base.metadata, model, (relative,))


def _view(base: Model, table: str, second: str, called: dict[str, str], draw: st.DrawFn) -> Made:
    type("Behind", (base,), {"__tablename__": table, **_columns(called)})
    columns: dict[str, Any] = {name: one for name, one in _columns(called).items() if isinstance(one, Column)}
    apart = type("Apart", (DeclarativeBase,), {"metadata": MetaData(schema=base.metadata.schema)})
    model = type("Shown", (apart,), {"__tablename__": second, **columns})
    schema, word = base.metadata.schema, draw(st.sampled_from(["VIEW", "MATERIALIZED VIEW"]))
    create = f"CREATE {word} {quoted(schema, second)} AS TABLE {quoted(schema, table)}"
    return Made(base.metadata, model, after=[create], refused="view")


def _selected(base: Model, table: str, second: str, called: dict[str, str], draw: st.DrawFn) -> Made:
    """Mapped to a SELECT."""
    del second, draw
    behind: Model = type("Behind", (base,), {"__tablename__": table, **_columns(called)})
    model = type(
        "Selected", (base,), {"__table__": select(behind.__table__).where(behind.__table__.c.number > 1).subquery()}
    )
    return Made(base.metadata, model, refused="not mapped to a table")


def _parent_of_tables(base: Model, table: str, second: str, called: dict[str, str], draw: st.DrawFn) -> Made:
    """PostgreSQL's own inheritance."""
    made = _plain(base, table, second, called, draw)
    schema = base.metadata.schema
    parent, child = quoted(schema, table), quoted(schema, second)
    made.after.append(f"CREATE TABLE {child} () INHERITS ({parent})")
    key = quoted(called["id"])
    made.later.append(
        f"WITH moved AS (DELETE FROM ONLY {parent} WHERE {key} % 2 = 0 RETURNING *) INSERT INTO {child} TABLE moved"  # noqa: S608 - the test's own
    )
    return made


def _partitioned(base: Model, table: str, second: str, called: dict[str, str], draw: st.DrawFn) -> Made:
    del draw
    by = {"postgresql_partition_by": f"HASH ({quoted(called['id'])})"}
    model = type("Parted", (Old, base), {"__tablename__": table, "__table_args__": by, **_columns(called)})
    schema = base.metadata.schema
    after = [
        f"CREATE TABLE {quoted(schema, f'{second}{n}')} PARTITION OF {quoted(schema, table)} "
        f"FOR VALUES WITH (MODULUS 2, REMAINDER {n})"
        for n in range(2)
    ]
    return Made(base.metadata, model, after=after)


KINDS: dict[str, Callable[[Model, str, str, dict[str, str], st.DrawFn], Made]] = {
    "plain": _plain,
    "single table": _shared,
    "joined": _joined,
    "concrete": _concrete,
    "view": _view,
    "select": _selected,
    "PostgreSQL's inheritance": _parent_of_tables,
    "partitioned": _partitioned,
}
_cutoffs = st.integers(-1, ROWS + 1).map(lambda n: BEGIN + timedelta(hours=n))
_numbers = st.integers(-1, 7)


def _leaf(made: Made, draw: st.DrawFn) -> Named:
    model: Any = made.model
    table: Any = model.__table__
    cutoff, number = draw(_cutoffs), draw(_numbers)
    again: Any = aliased(model)
    other: Any = made.other
    leaves: list[Callable[[], Named]] = [
        lambda: Named(model.at < cutoff),
        lambda: Named(model.when < cutoff),
        lambda: Named(model.moment < cutoff),
        lambda: Named(table.c.at < cutoff),
        lambda: Named(model.double > number),
        lambda: Named(model.is_even),
        lambda: Named(model.note.is_(None)),
        lambda: Named((model.note == "x").is_not(True)),
        lambda: Named(model.number.in_([number, number + 2])),
        lambda: Named(func.coalesce(model.note, "").like("%x%")),
        lambda: Named(true()),
        # What text refers to is the table alone, and nobody knows what is in it.
        lambda: Named(
            text(f"{quoted(table.c.number.name)} = 1 OR {quoted(table.c.number.name)} = 2".replace(":", r"\:"))
        ),
        lambda: Named(model.id.in_(select(other.owner).where(other.gone == number))),
        lambda: Named(exists().where(other.owner == model.id, other.gone > number)),
        lambda: Named(select(func.count()).where(other.owner == model.id).scalar_subquery() > 0),
        # A forgotten join, a forgotten EXISTS.
        lambda: Named(other.gone == number, may_be_refused=True),
        lambda: Named(and_(other.owner == model.id, other.gone == number), may_be_refused=True),
        lambda: Named(again.number > number, may_be_refused=True),
        # Rows that other rows decide about, which earlier batches delete.
        lambda: Named(exists().where(again.number == model.number, again.id > model.id), may_be_refused=True),
        lambda: Named(model.id.in_(select(again.id).where(again.number > number)), may_be_refused=True),
        lambda: Named(
            select(func.count()).where(again.number == model.number, again.at > model.at).scalar_subquery() >= number,
            may_be_refused=True,
        ),
    ]
    if made.relatives:
        there: Any = draw(st.sampled_from(made.relatives))
        leaves += [
            lambda: Named(there.at < cutoff, may_be_refused=True),
            # Of a class that shares the table, these are other rows of it.
            lambda: Named(model.id.in_(select(there.id).where(there.number > number)), may_be_refused=True),
        ]
    return draw(st.sampled_from(leaves))()


@st.composite
def predicates(draw: st.DrawFn, made: Made) -> Named:
    """Make a condition of up to three parts."""
    parts = [_leaf(made, draw) for _ in range(draw(st.integers(1, 3)))]
    joined = [
        not_(one.predicate) if draw(st.booleans()) and not isinstance(one.predicate, TextClause) else one.predicate
        for one in parts
    ]
    together = draw(st.sampled_from([and_, or_]))(*joined) if len(joined) > 1 else joined[0]
    return Named(together, may_be_refused=any(one.may_be_refused for one in parts))


def rows_sql(made: Made) -> list[str]:
    """Fill all tables of a generated model: of each class some rows, of the table beside it some that refer to them."""
    statements: list[str] = []
    kinds = ("base", "child", "grandchild")
    for table in made.metadata.sorted_tables:
        into = f"INSERT INTO {quoted(table.schema, table.name)}"
        if table.name == "others":
            statements.append(f"{into} SELECT n, n * 7 % {ROWS}, n % 6 FROM generate_series(1, 25) n")  # noqa: S608 - the test's own
        elif "number" not in table.c:
            statements.append(f"{into} SELECT n FROM generate_series(1, {ROWS}) n WHERE n % 3 = 1")  # noqa: S608 - the test's own
        else:
            columns = ", ".join(quoted(table.c[key].name) for key in ("id", "at", "number", "note", "kind"))
            statements.append(
                f"{into} ({columns}) SELECT n, '{BEGIN.isoformat()}'::timestamptz + n * interval '1 hour', "  # noqa: S608 - the test's own
                f"n % 6, CASE n % 4 WHEN 0 THEN 'x' WHEN 1 THEN 'y' END, (ARRAY{list(kinds)})[n % 3 + 1] "
                f"FROM generate_series(1, {ROWS}) n ORDER BY md5(n::text)"
            )
    return statements
