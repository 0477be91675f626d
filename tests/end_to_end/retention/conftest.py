import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.end_to_end.retention.rows import Rows


@pytest.fixture
def rows(engine: AsyncEngine) -> Rows:
    return Rows(engine)
