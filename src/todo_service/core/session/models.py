"""The mapped class of refresh sessions."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, func, text
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, mapped_column

from todo_service.core.user.models import User
from todo_service.infrastructure.database.base import Base


class RefreshSession(Base):
    """One login on one device, alive until `expires_at` or `revoked_at`, whichever comes first."""

    __tablename__ = "refresh_sessions"
    __table_args__ = (
        CheckConstraint("octet_length(refresh_token_hash) = 32", name="refresh_token_hash_is_sha256"),
        CheckConstraint("octet_length(family_hash) = 32", name="family_hash_is_sha256"),
        CheckConstraint("expires_at > created_at", name="expires_after_creation"),
        CheckConstraint("rotation_counter >= 0", name="rotation_counter_not_negative"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    # The 32 bytes of SHA-256: half of what their hexadecimal text would take in the row and in the index.
    refresh_token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    # Of the part that all tokens of this session share; null where it was issued before there was one.
    family_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    user_agent: Mapped[str | None]
    # INET refuses what is no address, is smaller than text, and can be asked for a network.
    ip_address: Mapped[IPv4Address | IPv6Address | None] = mapped_column(INET)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None]
    rotation_counter: Mapped[int] = mapped_column(server_default=text("0"))
