"""Create the tables of the engine."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = ("kiqstart_retention",)
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
        # Early databases of the service have both tables from its own migrations.
        if_not_exists=True,
    )
    op.create_table(
        "retention_undeletable",
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "key", name=op.f("pk_retention_undeletable")),
        if_not_exists=True,
    )
