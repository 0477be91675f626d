import pytest

from kiqstart.delivery.cli.servers import without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s%40cret@host:5432/x", "postgresql://me@host:5432/x"),
        ("redis://:secret@host:6379/0", "redis://@host:6379/0"),
        ("postgresql+asyncpg://me@/x?host=%2Ftmp", "postgresql+asyncpg://me@/x?host=%2Ftmp"),
        ("unix:///tmp/redis.sock?db=0", "unix:///tmp/redis.sock?db=0"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
