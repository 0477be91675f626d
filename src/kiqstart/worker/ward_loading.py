"""Loads, in the process for suspects, what its worker has."""

import inspect
import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kiqstart.broker.quarantine.ward_orders import WardOrders
from kiqstart.observability.log_formatter import configure_plain_logging
from kiqstart.worker.loading import LoadError, broker_of

if TYPE_CHECKING:
    from kiqstart.broker.broker import StreamBroker


def load_ward_broker(orders: WardOrders) -> "StreamBroker":
    """Import the broker, and what its worker had imported beside.

    Raises:
        LoadError: here it is another one.
    """
    module, _, names = orders.place.partition(":")
    found: object = _import(module)
    for name in names.split("."):
        found = getattr(found, name, None)
    if inspect.isfunction(found):
        found = found()
    from kiqstart.broker.broker import StreamBroker

    broker = broker_of(found)
    if not isinstance(broker, StreamBroker) or broker.keys.name != orders.queue:
        raise LoadError(f"{orders.place} is not the broker of the queue {orders.queue!r} in a new process")
    broker.is_worker_process = True
    for name in orders.modules:
        if _unknown(broker, orders):
            _import(name)
    return broker


def _import(module: str) -> object:
    try:
        return import_module(module)
    except ImportError as error:
        raise LoadError(f"{module} cannot be imported in a new process: {error}") from None


def _unknown(broker: "StreamBroker", orders: WardOrders) -> list[str]:
    return [name for name in orders.tasks if broker.find_task(name) is None]


def check_tasks(broker: "StreamBroker", orders: WardOrders) -> None:
    """See that no task is missing; call it once the broker has started, since an event's handler may register some.

    Raises:
        LoadError: one is.
    """
    unknown = _unknown(broker, orders)
    if unknown:
        raise LoadError(
            f"{orders.place} does not have all tasks in a new process: {unknown[0]!r} is missing, and "
            f"{len(unknown) - 1} more; let the broker's module import those with tasks"
        )


def receiver_options(orders: WardOrders) -> dict[str, Any]:
    """The receiver's arguments, as its worker has them."""
    from taskiq import AcknowledgeType

    options = dict(orders.receiver)
    if "ack_type" in options:
        options["ack_type"] = AcknowledgeType(options["ack_type"])
    return options


def configure_logging(orders: WardOrders) -> None:
    """Log as the worker does, unless the broker's module has set that up; call it once that is imported."""
    if not logging.getLogger().handlers:
        configure_plain_logging(orders.log_level, orders.log_format or logging.BASIC_FORMAT)
