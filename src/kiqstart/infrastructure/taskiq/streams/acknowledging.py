"""Acknowledging a delivery."""

from collections.abc import Callable

from taskiq.acks import AckController

from kiqstart.infrastructure.taskiq.streams.consumer import StreamConsumer
from kiqstart.infrastructure.taskiq.streams.delivery import Delivery


class DeliveryAcks(AckController):
    """Ends a delivery, once.

    Args:
        make_room: is called where the task has run, before Redis is asked.
    """

    def __init__(self, consumer: StreamConsumer, delivery: Delivery, make_room: Callable[[Delivery], None]) -> None:
        super().__init__(self.ack)
        self._consumer = consumer
        self._delivery = delivery
        self._make_room = make_room

    @property
    def has_result(self) -> bool:
        """Whether a result is stored with it."""
        return bool(self._delivery.result)

    async def ack(self) -> None:
        """Acknowledge the message, with all that comes of it."""
        if self.is_acked:
            return
        if self._delivery.has_run:
            self._make_room(self._delivery)
        await self._consumer.settle(self._delivery)
        self.is_acked = True
