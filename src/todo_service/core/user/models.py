"""The mapped class of users."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Identity, func, true
from sqlalchemy.orm import Mapped, mapped_column

from todo_service.infrastructure.database.base import Base


class User(Base):
    """A person who owns sessions and todos. An inactive one keeps both and gets no new session."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("username <> ''", name="username_not_empty"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str]
    is_active: Mapped[bool] = mapped_column(server_default=true())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
