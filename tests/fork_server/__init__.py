"""Processes of tests that begin with what they import imported: most of a short process's time is that.

Each process of a test session has a server, which has imported the framework and the libraries, and forks. What it
forks has the arguments, the environment, the folder, the standard streams and the session of its own that a process
begins with; the application is imported by it alone. A test that is about what is imported, or about memory, starts
its processes anew, as `kiqstart.testing.ProcessFactory` does.
"""

import struct
from typing import Final

HEADER: Final = struct.Struct("!I")
"""The size of a request, which comes with the standard streams and a socket for the answer."""
