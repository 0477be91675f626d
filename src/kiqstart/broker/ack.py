"""Acknowledging a delivery."""

import asyncio
from collections.abc import Callable

from redis.exceptions import RedisError
from taskiq.acks import AckController

from kiqstart.broker.consumer import StreamConsumer
from kiqstart.broker.delivery import Again, Delivery, Left
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
        """Acknowledge the message, with all that comes of it; before its result is there, so that nobody runs it again.

        Raises:
            CancelledError: the task is another worker's.
            RedisError: the task has not run, and Redis refuses it.
        """
        if self.is_acked:
            return
        delivery = self._delivery
        if delivery.is_saved or isinstance(delivery.outcome, Again | Left):
            self._make_room(delivery)
            await self._preflight.end(delivery)
        elif not await self._acknowledge_early(delivery):
            raise asyncio.CancelledError
        self.is_acked = True

    async def _acknowledge_early(self, delivery: Delivery) -> bool:
        try:
            return await self._consumer.acknowledge_early(delivery)
        except RedisError:
            if delivery.has_run:
                # It is acknowledged with its result.
                return True
            raise


def _is_overridden() -> None:
    """Stand for an acknowledgement: `DeliveryAcks.ack` is called in its place."""
