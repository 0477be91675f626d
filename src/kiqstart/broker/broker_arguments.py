"""Checks what a broker is made with: one line for what cannot be."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Final, cast

from kiqstart.broker.options import StreamOptions
from kiqstart.tasks.caller_types import is_utf8, shown
from kiqstart.tasks.errors import WiringError
from kiqstart.tasks.queue_names import LONGEST_QUEUE_NAME, queue_name_problem
from kiqstart.tasks.sealing.sealing import Sealing

# What a service's prefix may have, and what stands before and behind it.
_LONGEST: Final = LONGEST_QUEUE_NAME + 50


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
    sealing: object
    result_prefix: object
    connect_timeout: object
    max_connection_pool_size: object

    def __post_init__(self) -> None:
        """Check them."""
        for name in ("queue_name", "consumer_group_name"):
            value = getattr(self, name)
            self._need(name, isinstance(value, str) and value != "", "write a name, as text")
            self._need(name, is_utf8(cast("str", value)), "a name is UTF-8")
        self._need("options", isinstance(self.options, StreamOptions), "write StreamOptions(…)")
        self._need("sealing", self.sealing is None or isinstance(self.sealing, Sealing), "write Sealing(…)")
        self._need("result_prefix", self.result_prefix is None or isinstance(self.result_prefix, str), "write text")
        self._need("result_prefix", is_utf8(cast("str", self.result_prefix or "")), "it is UTF-8")
        for name in ("queue_name", "consumer_group_name", "result_prefix"):
            self._need(name, len(getattr(self, name) or "") <= _LONGEST, f"{_LONGEST} characters at most")
        seconds, most = self.connect_timeout, self.max_connection_pool_size
        is_span = _is_number(seconds, int | float) and 0 < cast("float", seconds) <= sys.float_info.max
        self._need("connect_timeout", is_span, "write seconds, above 0")
        is_count = _is_number(most, int) and cast("int", most) > 0
        self._need("max_connection_pool_size", is_count, "write a whole number, above 0")
        self._need(
            "queues",
            isinstance(self.queues, Mapping),
            "write each queue with its weight, such as {'default': 3, 'low': 1}",
        )
        _check_queues(cast("Mapping[object, object]", self.queues))

    def _need(self, name: str, is_well: bool, wanted: str) -> None:
        if not is_well:
            raise WiringError(f"StreamBroker: {name}={shown(getattr(self, name))}: {wanted}")


def _is_number(value: object, kind: type | UnionType) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _check_queues(queues: Mapping[object, object]) -> None:
    if not queues:
        raise WiringError("a worker needs at least one queue")
    for queue, weight in queues.items():
        problem = queue_name_problem(queue)
        if isinstance(weight, bool) or not isinstance(weight, int) or weight < 1:
            problem = "a weight is a whole number, at least 1"
        if problem is not None:
            raise WiringError(f"queue {shown(queue)} with weight {shown(weight)}: {problem}")
