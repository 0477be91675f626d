"""The local servers as one context manager."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kiqstart.local.errors import LocalStackError
from kiqstart.local.lease import Lease
from kiqstart.local.postgres import find_postgres
from kiqstart.local.redis import find_redis
from kiqstart.local.server import Server

POSTGRES = "PostgreSQL"
REDIS = "Redis"
# The keys are the kinds, as a human calls them.
SERVERS: Mapping[str, Callable[[Path], Server]] = {POSTGRES: find_postgres, REDIS: find_redis}


@dataclass(frozen=True, kw_only=True)
class StackUrls:
    """Where the servers are; None for one that was not asked for.

    `database_server` and `redis_server` name program, version and origin. Where Redis was asked for and cannot be had,
    `redis_url` is None and `redis_missing` is one line that says what to install.
    """

    database_url: str | None
    redis_url: str | None
    database_server: str | None
    redis_server: str | None
    redis_missing: str | None


@contextmanager
def local_stack(home: Path, *, postgres: bool = True, redis: bool = True) -> Generator[StackUrls]:
    """Have servers run with their data in `home`, for as long as the context is open.

    Processes that name the same home share the servers. Whoever comes first starts them, and they end with the last
    one, also with one that is killed; the data stay. They are development data: a power cut may corrupt them.

    Raises:
        LocalStackError: PostgreSQL cannot be had, or a server does not start.
        UntrustedPathError: another user can change the folder, or it cannot be looked at.
    """
    home = home.absolute()
    leases: dict[str, Lease] = {}
    missing: str | None = None
    if postgres:
        find_postgres(home)
        leases[POSTGRES] = Lease(POSTGRES, home / "postgres")
    if redis:
        try:
            find_redis(home)
            leases[REDIS] = Lease(REDIS, home / "redis")
        except LocalStackError as error:
            missing = str(error)
    try:
        for lease in leases.values():
            lease.acquire()
        states = {kind: lease.wait_ready() for kind, lease in leases.items()}
        database_state, redis_state = states.get(POSTGRES), states.get(REDIS)
        yield StackUrls(
            database_url=database_state.url if database_state else None,
            redis_url=redis_state.url if redis_state else None,
            database_server=database_state.description if database_state else None,
            redis_server=redis_state.description if redis_state else None,
            redis_missing=missing,
        )
    finally:
        ending = [lease for lease in leases.values() if lease.release()]
        for lease in ending:
            lease.wait_ended()
