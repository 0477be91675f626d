"""What a forked child does about the connections that its parent has to the database: it leaves them alone."""

from typing import TYPE_CHECKING

from kiqstart.processes.forks import tell_of_forks

if TYPE_CHECKING:
    from sqlalchemy import Pool
    from sqlalchemy.ext.asyncio import AsyncEngine


class ForkedPool:
    """Gives an engine a pool of its own in each forked child, which closes none of its parent's connections.

    Args:
        engine: has the pool.
    """

    def __init__(self, engine: "AsyncEngine") -> None:
        self._engine = engine
        # Collecting what the parent still uses would close it.
        self._inherited: list[Pool] = []
        tell_of_forks(self)

    def after_fork(self) -> None:
        """Begin with an empty pool."""
        self._inherited.append(self._engine.sync_engine.pool)
        self._engine.sync_engine.dispose(close=False)
