"""Fixtures for tests that talk to a real PostgreSQL, a real Redis and real worker processes.

Enable them in the `conftest.py` at the top of a test suite:

    pytest_plugins = ["kiqstart.testing.plugin"]

Then a test of a task, as a user meets it:

    async def test_expired_sessions_go(registry, worker):
        with worker():
            task = await registry.session_cleanup.kiq(days_old=0)
            result = await task.result(timeout=10)
        assert result["deleted_count"] == 0
"""

from kiqstart.testing.enqueued import Enqueued
from kiqstart.testing.polling import eventually
from kiqstart.testing.processes import ProcessFactory, ServiceProcess

__all__ = ["Enqueued", "ProcessFactory", "ServiceProcess", "eventually"]
