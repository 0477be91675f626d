"""The mapped class of todos."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, false, func
from sqlalchemy.orm import Mapped, mapped_column

from todo_service.core.user.models import User
from todo_service.infrastructure.database.base import Base


class Todo(Base):
    """Something a user means to do, or has done."""

    __tablename__ = "todos"
    __table_args__ = (
        CheckConstraint("title <> ''", name="title_not_empty"),
        CheckConstraint("is_completed = (completed_at IS NOT NULL)", name="completed_at_fits_is_completed"),
        Index(None, "user_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))
    title: Mapped[str]
    is_completed: Mapped[bool] = mapped_column(server_default=false())
    completed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
