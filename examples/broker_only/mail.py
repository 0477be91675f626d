"""A plain taskiq project: only its broker is kiqstart's, so no mail is lost."""

import asyncio
import os
import sys

from kiqstart.broker import StreamBroker

broker = StreamBroker(
    os.environ.get("REDIS_URL", "redis://localhost:6379/0"),
    # The braces keep all keys of it on one node of a Redis Cluster.
    queue_name=f"{{{os.environ.get('MAIL_PREFIX', 'mail')}}}:tasks",
)


@broker.task
async def send_mail(address: str) -> str:
    """Send a mail; here it is only said."""
    return f"sent to {address}"


async def main(address: str) -> None:
    """Send the task, and wait until a worker has run it."""
    await broker.startup()
    task = await send_mail.kiq(address)
    result = await task.wait_result(timeout=30)
    sys.stdout.write(f"{result.return_value}\n")
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
