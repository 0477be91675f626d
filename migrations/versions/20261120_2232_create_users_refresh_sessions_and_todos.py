"""Create users, refresh sessions and todos."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "10c8b2c9a091"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    _create_users()
    _create_refresh_sessions()
    _create_todos()


def downgrade() -> None:
    op.drop_table("todos")
    op.drop_table("refresh_sessions")
    op.drop_table("users")


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("username", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint("username <> ''", name=op.f("ck_users_username_not_empty")),
        # Also what the clean-up of todos looks each todo's user up in.
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        # No two users of one name; nothing reads users in this order yet.
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )


def _create_refresh_sessions() -> None:
    op.create_table(
        "refresh_sessions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("refresh_token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_agent", sa.String(), nullable=True),
        sa.Column("ip_address", postgresql.INET(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rotation_counter", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_refresh_sessions_expires_after_creation")),
        sa.CheckConstraint(
            "octet_length(refresh_token_hash) = 32", name=op.f("ck_refresh_sessions_refresh_token_hash_is_sha256")
        ),
        sa.CheckConstraint("rotation_counter >= 0", name=op.f("ck_refresh_sessions_rotation_counter_not_negative")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_refresh_sessions_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_sessions")),
        # Each rotation finds its session by the token's hash; two sessions never share a token.
        sa.UniqueConstraint("refresh_token_hash", name=op.f("uq_refresh_sessions_refresh_token_hash")),
    )
    # A user's sessions, and the cascade when a user is deleted, which would read the whole table without it.
    op.create_index(op.f("ix_refresh_sessions_user_id"), "refresh_sessions", ["user_id"])
    # Only the clean-up reads this one, so it is one narrow column: `id`, by which the clean-up orders equal times, is
    # left out. The clean-up reads it forwards, from where its last batch ended.
    op.create_index(op.f("ix_refresh_sessions_expires_at"), "refresh_sessions", ["expires_at"])


def _create_todos() -> None:
    op.create_table(
        "todos",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("is_completed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint("title <> ''", name=op.f("ck_todos_title_not_empty")),
        sa.CheckConstraint(
            "is_completed = (completed_at IS NOT NULL)", name=op.f("ck_todos_completed_at_fits_is_completed")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_todos_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_todos")),
    )
    # A user's todos, newest first (read backwards), and the cascade when a user is deleted.
    op.create_index(op.f("ix_todos_user_id_id"), "todos", ["user_id", "id"])
    # None for the clean-up: it walks the heap's pages and needs no index. So completing a todo changes no indexed
    # column and can stay a heap-only update, which an index on completed todos would end.
