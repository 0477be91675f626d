"""Create retention runs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "32c5f6e66b08"
down_revision: str | Sequence[str] | None = "10c8b2c9a091"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "retention_runs",
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("piece", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("pieces", sa.Integer(), nullable=False),
        sa.Column("walk", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("basis", sa.String(), nullable=False),
        sa.Column("resumed", sa.Boolean(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("row_limit", sa.BigInteger(), nullable=True),
        sa.Column("state", postgresql.JSONB(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("stopped", sa.String(), nullable=True),
        sa.Column("taken_on", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "run_id", "piece", name=op.f("pk_retention_runs")),
        # Room on each page for the next versions of its rows: every batch of a clean-up updates one, in place.
        postgresql_with={"fillfactor": 50},
    )


def downgrade() -> None:
    op.drop_table("retention_runs")
