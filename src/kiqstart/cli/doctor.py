"""`kiqstart doctor`: does Redis keep what is entrusted to it?"""

import asyncio
from dataclasses import asdict
from typing import Final

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import NoPermissionError, RedisError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.rights import missing_rights
from kiqstart.cli.application import application
from kiqstart.cli.terminal import echo, echo_json
from kiqstart.redis.client import RedisUnavailableError, check_redis
from kiqstart.redis.diagnosis import Finding, diagnose

_ANSWER_SECONDS: Final = 5.0


def run_doctor(*, as_json: bool) -> int:
    """Print a line for each finding, and return 1 if Redis may lose tasks, else 0.

    Raises:
        OperatorError: there is no application, or it cannot be put together.
        RedisUnavailableError: Redis cannot be reached, or does not allow INFO.
    """
    broker = application().broker
    found = asyncio.run(_look(broker)) if isinstance(broker, StreamBroker) else {"": [_IN_MEMORY]}
    may_lose_tasks = any(finding.may_lose_tasks for findings in found.values() for finding in findings)
    if as_json:
        as_dicts = [{"place": place, **asdict(one)} for place, findings in found.items() for one in findings]
        echo_json({"may_lose_tasks": may_lose_tasks, "findings": as_dicts})
        return int(may_lose_tasks)
    for place, findings in found.items():
        for finding in findings:
            mark = "warn" if finding.is_warning else "ok"
            echo(f"{mark:4}  {finding.subject:16}  {finding.text}" + (f" ({place})" if place else ""))
    return int(may_lose_tasks)


async def _look(broker: StreamBroker) -> dict[str, list[Finding]]:
    redis = broker.connections.async_client(timeout=_ANSWER_SECONDS)
    try:
        await check_redis(redis, broker.connections.address)
        found = await diagnose(redis)
        rights = await _rights(redis, broker.keys)
    except NoPermissionError as error:
        raise RedisUnavailableError(f"the user of REDIS_URL may not run INFO, which doctor reads: {error}") from None
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis (REDIS_URL) went away while it was looked at: {error}") from None
    finally:
        await redis.aclose()
    return {**found, "": [*found.get("", []), rights]}


async def _rights(redis: Redis | RedisCluster, keys: QueueKeys) -> Finding:
    missing = await missing_rights(redis, keys)
    if missing:
        text = f"lacks rights: add {' '.join(missing)} with ACL SETUSER, or in the ACL file"
        return Finding(subject="user", text=text, is_warning=True)
    return Finding(subject="user", text="may do all that tasks need")


_IN_MEMORY = Finding(
    subject="memory://",
    text="tasks end with the program that sends them; name a Redis in REDIS_URL",
    is_warning=True,
    may_lose_tasks=True,
)
