"""Checks what a broker is made with: one line for what cannot be."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from kiqstart.broker.options import StreamOptions
from kiqstart.tasks.caller_types import shown
from kiqstart.tasks.errors import WiringError
from kiqstart.tasks.queue_names import queue_name_problem


@dataclass(frozen=True, kw_only=True)
class BrokerArguments:
    """Arguments of a `StreamBroker`, as they were handed in; not every caller's types are checked.

    Raises:
        WiringError: one cannot be.
    """

    queue_name: object
    queues: object
    consumer_group_name: object
    options: object
    result_prefix: object
    connect_timeout: object
    max_connection_pool_size: object

    def __post_init__(self) -> None:
        """Check them."""
        for name in ("queue_name", "consumer_group_name"):
            self._need(
                name, isinstance(getattr(self, name), str) and getattr(self, name) != "", "write a name, as text"
            )
        self._need("options", isinstance(self.options, StreamOptions), "write StreamOptions(…)")
        self._need("result_prefix", self.result_prefix is None or isinstance(self.result_prefix, str), "write text")
        seconds, most = self.connect_timeout, self.max_connection_pool_size
        is_span = isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0
        self._need("connect_timeout", is_span, "write seconds, above 0")
        self._need("max_connection_pool_size", isinstance(most, int) and most > 0, "write a whole number, above 0")
        self._need(
            "queues",
            isinstance(self.queues, Mapping),
            "write each queue with its weight, such as {'default': 3, 'low': 1}",
        )
        _check_queues(cast("Mapping[object, object]", self.queues))

    def _need(self, name: str, is_well: bool, wanted: str) -> None:
        if not is_well:
            raise WiringError(f"StreamBroker: {name}={shown(getattr(self, name))}: {wanted}")


def _check_queues(queues: Mapping[object, object]) -> None:
    if not queues:
        raise WiringError("a worker needs at least one queue")
    for queue, weight in queues.items():
        problem = queue_name_problem(queue)
        if isinstance(weight, bool) or not isinstance(weight, int) or weight < 1:
            problem = "a weight is a whole number, at least 1"
        if problem is not None:
            raise WiringError(f"queue {shown(queue)} with weight {shown(weight)}: {problem}")
