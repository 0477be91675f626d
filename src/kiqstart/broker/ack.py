"""Acknowledging a delivery."""

import asyncio
from collections.abc import Callable

from taskiq.acks import AckController

from kiqstart.broker.consumer import StreamConsumer
from kiqstart.broker.delivery import Delivery
from kiqstart.broker.receiver.preflight import Preflight


class DeliveryAcks(AckController):
    """Ends a delivery, once.

    Args:
        make_room: is called where the task has run, before Redis is asked.
    """

    def __init__(
        self, consumer: StreamConsumer, preflight: Preflight, delivery: Delivery, make_room: Callable[[Delivery], None]
    ) -> None:
        # Its own method would make a cycle: a message and a result would live until Python looks for such.
        super().__init__(_is_overridden)
        self._consumer = consumer
        self._preflight = preflight
        self._delivery = delivery
        self._make_room = make_room

    @property
    def has_result(self) -> bool:
        """Whether a result is stored with it."""
        return bool(self._delivery.result)

    async def ack(self) -> None:
        """Acknowledge the message, with all that comes of it; before its task has run, so that nobody runs it again.

        Raises:
            CancelledError: the task has not run, and is another worker's.
        """
        if self.is_acked:
            return
        delivery = self._delivery
        if delivery.has_run:
            self._make_room(delivery)
            await self._preflight.end(delivery)
        elif not await self._consumer.acknowledge_early(delivery):
            raise asyncio.CancelledError
        self.is_acked = True


def _is_overridden() -> None:
    """Stand for an acknowledgement: `DeliveryAcks.ack` is called in its place."""
