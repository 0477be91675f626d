"""Create retention undeletable."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "5d0e6a7c41b2"
down_revision: str | Sequence[str] | None = "32c5f6e66b08"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "retention_undeletable",
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "key", name=op.f("pk_retention_undeletable")),
    )


def downgrade() -> None:
    op.drop_table("retention_undeletable")
