"""What kiqstart's receiver logs of runs, in the place of taskiq's lines."""

from taskiq import TaskiqMessage

from kiqstart.broker.delivery import current_delivery
from kiqstart.broker.receiver.base import BaseReceiver
from kiqstart.broker.receiver.failed_runs import is_expected
from kiqstart.broker.run_lines import delivery_starts


class LoggingReceiver(BaseReceiver):
    """Logs the runs of deliveries by itself, and those of other brokers as taskiq does."""

    def log_start(self, message: TaskiqMessage) -> None:
        """Log that a task's function is about to be called."""
        delivery = current_delivery.get()
        if delivery is None:
            super().log_start(message)
        else:
            delivery_starts(delivery)

    def log_error(self, message: TaskiqMessage, error: BaseException) -> None:
        """Keep what a task raised for the line of its end, unless it was cancelled or is another worker's by now."""
        delivery = current_delivery.get()
        if delivery is None:
            super().log_error(message, error)
        elif not is_expected(error, delivery):
            delivery.error = error
