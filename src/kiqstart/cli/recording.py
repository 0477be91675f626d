"""Keeping what an operator did in the log of acts."""

from collections.abc import Sequence

from redis.exceptions import RedisError

from kiqstart.broker.acts import Act, Acts, Operator
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.redis_retry import reason as summary
from kiqstart.cli.terminal import echo, shown


async def record(broker: StreamBroker, acts: Sequence[Act], reason: str | None) -> None:
    """Keep acts that are done; one warning line where they cannot be kept, since they are done all the same."""
    try:
        await Acts(broker.connection.redis, broker.keys).record(
            acts, by=Operator.of_this_process(), reason=reason or ""
        )
    except (RedisError, OSError) as error:
        echo(f"kiqstart: done, but not kept in the log of acts: {shown(summary(error))}", err=True)
