"""The figures as text for Prometheus."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from logging import getLogger
from types import MappingProxyType
from typing import Final

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from redis.exceptions import RedisError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.redis_retry import reason
from kiqstart.metrics.families import families_of
from kiqstart.metrics.figures import Figures, read_figures

logger = getLogger(__name__)

_SECONDS_SHARED: Final = 1.0
_SECONDS_TO_READ: Final = 8.0
_NO_CHECKS: Final[Mapping[str, bool]] = MappingProxyType({})


@dataclass(frozen=True)
class _Collected:
    metrics: Sequence[Metric]

    def collect(self) -> Iterator[Metric]:
        """What prometheus-client asks a collector for."""
        yield from self.metrics


@dataclass(kw_only=True)
class MetricsPage:
    """Gives the text to whoever asks, read anew once a second at most.

    Args:
        broker: whose figures these are.
        policies: the application's retention policies.
        look: looks at the application's database: what it has looked at, and whether all was well.
    """

    broker: StreamBroker
    policies: Sequence[str] = ()
    look: Callable[[], Awaitable[Mapping[str, bool]]] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _read_at: float = float("-inf")
    _metrics: Sequence[Metric] = ()
    _problem: str = ""

    async def text(self, accept: str = "") -> tuple[bytes, str]:
        """The text, and the type of its content; where Redis cannot be read, it says that.

        Args:
            accept: the types that are accepted, as HTTP has it; OpenMetrics is one of them, or Prometheus' own.
        """
        async with self._lock:
            if time.monotonic() - self._read_at >= _SECONDS_SHARED:
                checks = _NO_CHECKS if self.look is None else await self.look()
                self._metrics = families_of(await self._figures(), self.broker.keys.tag, checks)
                self._read_at = time.monotonic()
        encode, content_type = choose_encoder(accept)
        return encode(_Collected(self._metrics)), content_type

    async def _figures(self) -> Figures | None:
        try:
            async with asyncio.timeout(_SECONDS_TO_READ):
                figures = await read_figures(self.broker, self.policies)
        except (RedisError, OSError) as error:
            if reason(error) != self._problem:
                logger.warning("The figures for Prometheus cannot be read: %s", reason(error))
            self._problem = reason(error)
            return None
        self._problem = ""
        return figures


def text_of(figures: Figures, checks: Mapping[str, bool]) -> str:
    """Figures, and what was looked at in the database, in Prometheus' text format."""
    encode, _ = choose_encoder("")
    return encode(_Collected(families_of(figures, figures.service, checks))).decode()
