"""The supervisor's process: `python -m kiqstart.local KIND FOLDER`, started by a `Lease` only.

It inherits the lock `supervisor.lock`, open and locked, and keeps it by merely living.
"""

import os
import sys
from pathlib import Path

from kiqstart.errors import OperatorError
from kiqstart.local.stack import SERVERS
from kiqstart.local.supervisor import Supervisor


def main() -> None:
    """Go on as a grandchild of the starting process, so that nobody has to wait for it."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    if os.fork():
        os._exit(0)
    os.chdir("/")
    try:
        Supervisor(SERVERS[kind](folder), folder).run()
    except OperatorError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
