"""`kiqstart doctor`: does Redis keep what is entrusted to it?"""

import asyncio

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import NoPermissionError, RedisError

from kiqstart.broker.rights import missing_rights
from kiqstart.cli.terminal import echo
from kiqstart.redis.client import RedisUnavailableError, check_redis, create_redis
from kiqstart.redis.diagnosis import Finding, diagnose
from kiqstart.redis.settings import RedisSettings
from kiqstart.settings import load_settings
from todo_service.delivery.tasks.settings import TasksSettings


def run_doctor() -> int:
    """Print a line for each finding, and return 1 if Redis may lose tasks, else 0.

    Raises:
        SettingsError: REDIS_URL is missing or malformed.
        RedisUnavailableError: Redis cannot be reached, or does not allow INFO.
    """
    settings = load_settings(RedisSettings)
    found = {"": [_IN_MEMORY]} if settings.is_in_memory else asyncio.run(_look(settings))
    for place, findings in found.items():
        for finding in findings:
            mark = "warn" if finding.is_warning else "ok"
            echo(f"{mark:4}  {finding.subject:16}  {finding.text}" + (f" ({place})" if place else ""))
    return int(any(finding.may_lose_tasks for findings in found.values() for finding in findings))


async def _look(settings: RedisSettings) -> dict[str, list[Finding]]:
    redis = create_redis(settings)
    try:
        await check_redis(redis, settings)
        found = await diagnose(redis)
        rights = await _rights(redis)
    except NoPermissionError as error:
        raise RedisUnavailableError(f"the user of REDIS_URL may not run INFO, which doctor reads: {error}") from None
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis (REDIS_URL) went away while it was looked at: {error}") from None
    finally:
        await redis.aclose()
    return {**found, "": [*found.get("", []), rights]}


async def _rights(redis: Redis | RedisCluster) -> Finding:
    missing = await missing_rights(redis, load_settings(TasksSettings).keys)
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
