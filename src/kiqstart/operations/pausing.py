"""What is paused, in words."""

from datetime import UTC, datetime

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.known_queues import queues_of_tasks
from kiqstart.broker.pauses import Pausable, Pause, Pauses
from kiqstart.broker.stats import count_tasks
from kiqstart.operations.schedule_wording import shown_seconds


def pauses_of(broker: StreamBroker) -> Pauses:
    """What is paused of a broker."""
    return Pauses(broker.connection.redis, broker.keys, deadline=broker.options.send_deadline)


def said(pause: Pause) -> str:
    """Since when and why it is paused: `the queue 'low' is paused for 5 h, by ada@host: the database is moved`."""
    words = f"the {pause.described} is paused"
    if pause.since is not None:
        words += f" for {shown_seconds(max((datetime.now(UTC) - pause.since).total_seconds(), 0.0))}"
    if pause.by.user:
        words += f", by {pause.by.user}@{pause.by.host}"
    return f"{words}: {pause.reason}" if pause.reason else words


async def known_names(broker: StreamBroker, kind: Pausable) -> set[str]:
    """The queues or tasks that there are, as far as this process knows.

    Raises:
        RedisError: Redis is away.
    """
    if kind is Pausable.TASK:
        return set(broker.get_all_tasks())
    stats = await count_tasks(broker, [*broker.queues, *queues_of_tasks(broker)])
    return {one.queue for one in stats.queues}
