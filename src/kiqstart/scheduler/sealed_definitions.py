"""Definitions of schedules in Redis, signed where messages are: of what a scheduler reads there it signs messages."""

from taskiq import AsyncBroker

from kiqstart.broker.broker import StreamBroker
from kiqstart.scheduler.definition import ScheduleDefinition, UnreadableScheduleError
from kiqstart.tasks.sealing.errors import UntrustedMessageError


def dump_sealed(definition: ScheduleDefinition, broker: AsyncBroker) -> bytes:
    """A definition as it is kept. The text is the same each time, as long as the same key signs.

    Raises:
        ValueError: an argument or a label is nothing that JSON has.
    """
    data = definition.dump()
    seals = broker.sealing if isinstance(broker, StreamBroker) else None
    return data if seals is None else seals.schedules.sign(data)


def load_trusted(data: bytes, broker: AsyncBroker, *, name: str) -> ScheduleDefinition:
    """A definition whose task may be sent.

    Args:
        data: what is kept.
        broker: sends the task.
        name: under which it is kept.

    Raises:
        UnreadableScheduleError: it is something else, of a later version, has another name, or was not signed.
    """
    seals = broker.sealing if isinstance(broker, StreamBroker) else None
    try:
        readable = data if seals is None else seals.schedules.verified(data)
    except UntrustedMessageError as error:
        raise UnreadableScheduleError(str(error)) from None
    return ScheduleDefinition.load(readable, name=name)
