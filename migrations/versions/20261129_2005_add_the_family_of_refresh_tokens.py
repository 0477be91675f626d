"""Add the family of refresh tokens."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "5d0c4e7a91b3"
down_revision: str | Sequence[str] | None = "5d0e6a7c41b2"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_CHECK = op.f("ck_refresh_sessions_family_hash_is_sha256")


def upgrade() -> None:
    # Null for sessions that were there before; their next rotation fills it in.
    op.add_column("refresh_sessions", sa.Column("family_hash", sa.LargeBinary(), nullable=True))
    # No index: a token names its session's id.
    op.create_check_constraint(_CHECK, "refresh_sessions", "octet_length(family_hash) = 32")


def downgrade() -> None:
    op.drop_constraint(_CHECK, "refresh_sessions", type_="check")
    op.drop_column("refresh_sessions", "family_hash")
