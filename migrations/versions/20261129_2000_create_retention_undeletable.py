"""Create retention undeletable.

Nothing is left of it here: its table is that of kiqstart.retention, whose own history takes over one that is there. A
database that had it needs the revision to be known.
"""

from collections.abc import Sequence

revision: str = "5d0e6a7c41b2"
down_revision: str | Sequence[str] | None = "32c5f6e66b08"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
