"""What can go wrong with the demo."""

from kiqstart import OperatorError


class DemoError(OperatorError):
    """The demo cannot go on, or its figures do not agree."""
