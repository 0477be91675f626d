"""How often a password may be tried."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_network
from typing import Final

from kiqstart.dashboard.proxy import parse_address

TRIES: Final = 5
"""Wrong passwords from one address, until it has to wait."""
SECONDS: Final = 60.0
"""For how long a wrong password counts."""
_MOST_ADDRESSES: Final = 10_000
# Whoever has one address of IPv6 has its network.
_PREFIX: Final = 64


class LoginLimit:
    """Counts wrong passwords by address, in memory that is bounded.

    Args:
        now: seconds of a clock that only goes forward.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def seconds_to_wait(self, address: str) -> float:
        """Until the next try; 0 where it may be made now."""
        failures = self._recent(_network(address))
        return 0.0 if len(failures) < TRIES else max(failures[0] + SECONDS - self._now(), 0.0)

    def failed(self, address: str) -> None:
        """A password was wrong."""
        network = _network(address)
        failures = self._recent(network)
        failures.append(self._now())
        self._failures[network] = failures
        self._failures.move_to_end(network)
        while len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def _recent(self, network: str) -> deque[float]:
        failures = self._failures.get(network, deque[float](maxlen=TRIES))
        while failures and failures[0] + SECONDS <= self._now():
            failures.popleft()
        return failures


def _network(address: str) -> str:
    found = parse_address(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, _PREFIX), strict=False))
    return address if found is None else str(found)
