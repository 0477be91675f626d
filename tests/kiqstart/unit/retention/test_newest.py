"""Which predicates may look at other rows of their own table."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from sqlalchemy import Boolean, ColumnElement, Table, and_, exists, func, literal_column, or_, select, text, tuple_
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column

from kiqstart.retention.errors import PolicyError
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.row_update import RowUpdate


class Base(DeclarativeBase):
    pass


class Login(Base):
    __tablename__ = "logins"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[int]
    at: Mapped[datetime]
    worked: Mapped[bool]


class Other(Base):
    __tablename__ = "others"

    id: Mapped[int] = mapped_column(primary_key=True)


Newer = aliased(Login)
OF_OWNER = Newer.owner == Login.owner
COUNT = select(func.count()).where(OF_OWNER, Newer.at > Login.at)
table = Login.__table__.alias("newer")


def policy(part: ColumnElement[bool], update: RowUpdate | None = None) -> RetentionPolicy:
    return RetentionPolicy(name="logins", model=Login, predicate=and_(Login.worked, part), update=update)


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(exists().where(OF_OWNER, Newer.at > Login.at), id="a newer one"),
        pytest.param(select(Newer.id).where(OF_OWNER, Login.at < Newer.at).exists(), id="a newer one, by its column"),
        pytest.param(exists().where(table.c.owner == Login.owner, table.c.at > Login.at), id="an alias of the table"),
        pytest.param(exists().where(Newer.at > Login.at), id="all are one group"),
        pytest.param(exists().where(OF_OWNER, Newer.at < Login.at), id="the oldest stay"),
        pytest.param(COUNT.scalar_subquery() >= 3, id="three newer ones"),
        pytest.param(
            select(func.count(Newer.id))
            .where(OF_OWNER, tuple_(Newer.at, Newer.id) > tuple_(Login.at, Login.id), Newer.worked)
            .scalar_subquery()
            > 2,
            id="of some rows, by two columns",
        ),
        pytest.param(
            exists().where(OF_OWNER, Newer.at > Login.at, Newer.at > datetime(2026, 1, 1, tzinfo=UTC)), id="constants"
        ),
    ],
)
def test_it_may_ask_whether_so_many_of_a_group_lie_beyond_a_row(part: ColumnElement[bool]) -> None:
    policy(part).check()


REFUSED: dict[str, ColumnElement[bool]] = {
    "none is newer": ~exists().where(OF_OWNER, Newer.at > Login.at),
    "some are newer, or something else": or_(Login.id < 9, exists().where(OF_OWNER, Newer.at > Login.at)),
    "as new ones, itself among them": exists().where(OF_OWNER, Newer.at >= Login.at),
    "others": exists().where(OF_OWNER, Newer.id != Login.id),
    "no order": exists().where(OF_OWNER),
    "two orders": exists().where(Newer.at > Login.at, Newer.id < Login.id),
    "other columns": exists().where(Newer.owner == Login.id, Newer.at > Login.at),
    "columns that are exchanged": exists().where(tuple_(Newer.at, Newer.id) > tuple_(Login.id, Login.at)),
    "an order or something else": exists().where(OF_OWNER, or_(Newer.at > Login.at, Newer.worked)),
    "an order and text": exists().where(OF_OWNER, Newer.at > Login.at, text("worked")),
    "another subquery": exists().where(Newer.at > Login.at, Newer.id.in_(select(aliased(Login).id))),
    "two aliases": exists().where(Newer.at > Login.at, aliased(Login).id > 3),
    "another table beside": exists().where(Newer.at > Login.at, Other.id == Newer.id),
    "few are newer": COUNT.scalar_subquery() <= 3,
    "as many are newer as a column says": COUNT.scalar_subquery() >= Login.id,
    "different values": select(func.count(Newer.owner.distinct())).where(Newer.at > Login.at).scalar_subquery() >= 3,
    "a limit": COUNT.limit(1).scalar_subquery() >= 1,
    "an offset": select(Newer.id).where(OF_OWNER, Newer.at > Login.at).offset(3).exists(),
    "groups": COUNT.group_by(Newer.worked).scalar_subquery() >= 1,
    "a group's condition": select(Newer.id).where(Newer.at > Login.at).having(func.count() > 3).exists(),
    "another aggregate": select(func.max(Newer.id)).where(Newer.at > Login.at).scalar_subquery() >= 3,
    "not among the last": Login.id.not_in(select(Newer.id).order_by(Newer.at.desc()).limit(3)),
    "without an alias": Login.id.not_in(select(func.max(Login.id)).group_by(Login.owner)),
    "before the average": Login.id < select(func.avg(Login.id)).scalar_subquery(),
    "in a subquery's subquery": Login.id.not_in(select(select(Login.id).limit(3).subquery().c.id)),
    "in a WITH": Login.id.not_in(select(select(Login.id).limit(3).cte("last").c.id)),
    "in a UNION": Login.id.in_(select(Other.id).union(select(Login.id).correlate(None))),
    "in a join": Login.id.in_(select(Other.id).join(Newer, Newer.id == Other.id)),
    "in text": literal_column("at < (SELECT avg(at) FROM logins)", Boolean),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_earlier_batches_could_change_is_refused(name: str) -> None:
    with pytest.raises(PolicyError, match=r"looks at other rows of 'logins'.*to keep the newest n"):
        policy(REFUSED[name]).check()


@pytest.mark.parametrize(
    "part",
    [
        Login.id.in_(select(Other.id)),
        Login.id.in_(select(select(Other.id).limit(3).cte("some").c.id)),
        exists().where(Other.id == Login.id),
        func.to_jsonb(cast("Table[Any]", Login.__table__).table_valued()).is_not(None),
        literal_column("id IN (SELECT id FROM logins_of_old)", Boolean),
    ],
)
def test_other_tables_may_be_looked_at_as_ever(part: ColumnElement[bool]) -> None:
    policy(part).check()


def test_rows_that_are_updated_may_move_in_their_group() -> None:
    update = RowUpdate(values={Login.worked: False}, done=Login.worked.is_(False))
    with pytest.raises(PolicyError, match="looks at other rows of 'logins'"):
        policy(COUNT.scalar_subquery() >= 3, update).check()
