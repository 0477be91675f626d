"""The Redis that a benchmark measures on."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from kiqstart.infrastructure.local_stack import local_stack


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
