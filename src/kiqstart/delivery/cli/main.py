"""Where the command `kiqstart` begins.

A worker is to run at once, and its parent to stay small: neither needs what reads the other commands' arguments.
"""

import sys

from kiqstart.infrastructure.errors import OperatorError


def main() -> None:
    """Run the command line's command; a mistake that the operator can mend is one line and exit code 1."""
    try:
        if sys.argv[1:2] == ["worker"]:
            from kiqstart.delivery.cli.worker import run

            raise SystemExit(run(sys.argv[2:]))
        from kiqstart.delivery.cli.app import app

        app()
    except OperatorError as error:
        sys.stderr.write(f"kiqstart: {error}\n")
        raise SystemExit(1) from None
