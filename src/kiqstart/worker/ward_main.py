"""What a worker starts for suspects: `ward`, in a process of its own."""

import sys

from kiqstart.late_imports import put_off_admin_middleware
from kiqstart.observability.uncaught import take_uncaught_errors

if __name__ == "__main__":
    # It works only before taskiq is imported.
    put_off_admin_middleware()
    take_uncaught_errors()
    from kiqstart.worker.ward import main

    sys.exit(main(*sys.argv[1:]))
