"""What goes wrong with the local servers."""

from kiqstart.errors import OperatorError


class LocalStackError(OperatorError):
    """A local server cannot be had or does not start."""
