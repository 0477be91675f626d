"""Notices when a worker process gets no core for long, as on a busy machine: then its tasks may be given to others."""

import threading
import time
from typing import Final

from tests.faults.recorder import Mark, Recorder

_SECONDS_BETWEEN_LOOKS: Final = 0.2
_SECONDS_TO_TELL: Final = 0.8


def watch_for_standstills(recorder: Recorder) -> None:
    """Record each time that this process stood still, in a thread of its own."""
    threading.Thread(target=_watch, args=(recorder,), name="standstills", daemon=True).start()


def _watch(recorder: Recorder) -> None:
    before = time.monotonic()
    while True:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        now = time.monotonic()
        if now - before > _SECONDS_TO_TELL:
            recorder.write(Mark.STOOD_STILL, "", seconds=now - before)
        before = now
