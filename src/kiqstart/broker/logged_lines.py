"""Keeps with each run what it has logged."""

import logging

from kiqstart.broker.delivery import current_delivery
from kiqstart.observability.kept_lines import KeptLines, line_of
from kiqstart.observability.run_log import RUN_LOG


class LoggedLinesHandler(logging.Handler):
    """Gives each delivery the lines that reach the root logger while it runs.

    Args:
        most: bytes that are kept of each.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, where a task runs here; how it has ended is kept apart."""
        delivery = current_delivery.get()
        if delivery is None or delivery.is_settled or record.name == RUN_LOG.name:
            return
        try:
            line = line_of(record, self._most)
        except Exception:  # noqa: BLE001  # whoever shows the line says what is wrong with it
            return
        if delivery.lines is None:
            delivery.lines = KeptLines(self._most)
        delivery.lines.add(line)


def keep_logged_lines(most: int) -> None:
    """Keep what runs log from now on in this process, up to so many bytes of each.

    Where nothing is set up that shows lines, none are kept: the standard library would then no more show those of
    warnings by itself.
    """
    root = logging.getLogger()
    if root.handlers and not any(isinstance(one, LoggedLinesHandler) for one in root.handlers):
        root.addHandler(LoggedLinesHandler(most))
