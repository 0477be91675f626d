"""An application that never is imported to its end."""

import os
import signal
import sys

sys.stderr.write(f"began as process {os.getpid()}\n")
sys.stderr.flush()
while True:
    signal.pause()
