"""The Redis that a benchmark measures on."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit, urlunsplit

from redis import Redis, ResponseError

from kiqstart.local import local_stack

# As many as Redis has unless it is configured otherwise.
_DATABASES: Final = 16


@contextmanager
def benchmark_redis() -> Generator[tuple[str, Path]]:
    """Give the URL of `REDIS_URL`'s Redis, or of one of the benchmark's own, and a folder for logs."""
    given = os.environ.get("REDIS_URL")
    with (
        tempfile.TemporaryDirectory() as folder,
        local_stack(Path(folder), postgres=False, redis=given is None) as stack,
    ):
        redis_url = given or stack.redis_url
        if redis_url is None:
            raise SystemExit(f"this benchmark needs a Redis: {stack.redis_missing}")
        yield redis_url, Path(folder)


@contextmanager
def empty_database(redis_url: str) -> Generator[str]:
    """Give the URL of a database of that Redis that has no key, and leave no key and no function library at the end.

    Raises:
        SystemExit: it has none, or is a cluster, which has only one.
    """
    for number in range(_DATABASES - 1, 0, -1):
        own = _with_database(redis_url, number)
        with Redis.from_url(own) as redis:
            if redis.dbsize() > 0:
                continue
            libraries = _libraries(redis)
            try:
                yield own
            finally:
                redis.flushdb()
                for library in _libraries(redis) - libraries:
                    redis.function_delete(library)
            return
    raise SystemExit(f"this benchmark needs an empty database, and none of 1 to {_DATABASES - 1} on this Redis is")


def _with_database(redis_url: str, number: int) -> str:
    url = urlsplit(redis_url)
    match url.scheme:
        case "unix":
            return f"unix://{url.path}?db={number}"
        case "redis" | "rediss":
            return urlunsplit(url._replace(path=f"/{number}", query=""))
        case scheme:
            raise SystemExit(f"this benchmark needs a single Redis, redis://, rediss:// or unix://, not {scheme}://")


def _libraries(redis: Redis) -> set[str]:
    # Redis before 7.0 has no functions.
    with suppress(ResponseError):
        return {str(one[one.index(b"library_name") + 1], "utf-8") for one in _listed(redis)}
    return set()


def _listed(redis: Redis) -> list[list[bytes]]:
    return cast("list[list[bytes]]", redis.function_list())
