"""One worker in its process."""

import subprocess
import sys

# Whatever ends it before it runs, as another worker's signal does: here its broker's module.
WORKER = """
import asyncio, sys
from kiqstart.worker.command import run_here
from kiqstart.worker.options import parse_options

sys.modules["app"] = None
try:
    run_here(parse_options(["app:broker"], program="worker", default_broker=None))
finally:
    print(asyncio.get_event_loop_policy().get_event_loop().is_closed())
"""


def test_a_worker_that_cannot_begin_closes_its_event_loop() -> None:
    done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n"
    assert "app" in done.stderr
