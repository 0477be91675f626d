"""Whether a Redis is set up so that it keeps what is entrusted to it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import ResponseError

_MEBIBYTE: Final = 1024 * 1024
_NEARLY_FULL: Final = 0.8

_Facts = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was looked at, and what was found; a warning says what to change."""

    subject: str
    text: str
    is_warning: bool = False
    may_lose_tasks: bool = False


async def diagnose(redis: Redis | RedisCluster) -> dict[str, list[Finding]]:
    """Look at the server, or at each master of the cluster: the findings by `host:port`, "" for the only server.

    Raises:
        redis.exceptions.RedisError: it cannot be reached, or does not allow INFO.
    """
    if not isinstance(redis, RedisCluster):
        return {"": list(_findings(await redis.info(), await _configuration(redis)))}
    await redis.initialize()
    found: dict[str, list[Finding]] = {}
    for node in redis.get_primaries():
        facts = cast("_Facts", await redis.info(target_nodes=node))
        found[node.name] = list(_findings(facts, await _configuration(redis, node)))
    return found


async def _configuration(redis: Redis | RedisCluster, node: ClusterNode | None = None) -> dict[str, str] | None:
    """The settings that INFO does not tell; None where CONFIG is renamed, or forbidden to this user."""
    target = {} if node is None else {"target_nodes": node}
    found: dict[str, str] = {}
    try:
        # One at a time: several in one command are understood from Redis 7.0 on.
        for name in ("appendfsync", "min-replicas-to-write"):
            found |= cast("dict[str, str]", await redis.config_get(name, **target))
    except ResponseError:
        return None
    return found


def _findings(facts: _Facts, configuration: dict[str, str] | None) -> Iterator[Finding]:
    kind = "Valkey" if "valkey_version" in facts else "Redis"
    yield Finding(subject="version", text=f"{kind} {facts.get('valkey_version', facts['redis_version'])}")
    yield _append_only(facts)
    if configuration is None:
        yield Finding(
            subject="CONFIG",
            text="is not allowed to this user, as with many managed services: appendfsync and min-replicas-to-write "
            "were not looked at",
            is_warning=True,
        )
    elif facts["aof_enabled"]:
        yield _append_sync(configuration["appendfsync"])
    yield _eviction(str(facts["maxmemory_policy"]), limited=bool(facts["maxmemory"]))
    yield _memory(cast("int", facts["used_memory"]), cast("int", facts["maxmemory"]))
    if facts["connected_slaves"] and configuration is not None:
        yield _replication(cast("int", facts["connected_slaves"]), configuration["min-replicas-to-write"])


def _append_only(facts: _Facts) -> Finding:
    if not facts["aof_enabled"]:
        return _loss(
            "appendonly",
            "is no: a restart of Redis loses tasks that wait; write `appendonly yes` in its configuration",
        )
    if facts["aof_last_write_status"] != "ok":
        return _loss("appendonly", "is yes, but the last write failed: look at Redis's log and at its disk")
    return Finding(subject="appendonly", text="is yes: tasks outlive a restart of Redis")


def _append_sync(value: str) -> Finding:
    if value == "no":
        return _loss(
            "appendfsync",
            "is no: a crash of the machine loses what its system had not written; write `appendfsync everysec`",
        )
    cost = "nothing" if value == "always" else "the last second"
    return Finding(subject="appendfsync", text=f"is {value}: a crash of the machine loses {cost}")


def _eviction(policy: str, *, limited: bool) -> Finding:
    remedy = "write `maxmemory-policy noeviction` in its configuration"
    if policy == "noeviction":
        return Finding(subject="maxmemory-policy", text="is noeviction: nothing is dropped for want of memory")
    if policy.startswith("volatile-"):
        text = f"is {policy}: for want of memory results and locks go before their time; {remedy}"
        return Finding(subject="maxmemory-policy", text=text, is_warning=True)
    when = "for want of memory" if limited else "once maxmemory is set,"
    return _loss("maxmemory-policy", f"is {policy}: {when} tasks may be dropped; {remedy}")


def _memory(used: int, limit: int) -> Finding:
    if not limit:
        return Finding(subject="memory", text=f"{_mebibytes(used)} used, no maxmemory")
    text = f"{_mebibytes(used)} used of {_mebibytes(limit)}"
    if used < limit * _NEARLY_FULL:
        return Finding(subject="memory", text=text)
    return Finding(subject="memory", text=f"{text}: sends fail when it is full; raise maxmemory", is_warning=True)


def _replication(replicas: int, needed: str) -> Finding:
    if needed == "0":
        return _loss(
            "replication",
            f"{replicas} replicas, min-replicas-to-write is 0: a master that is cut off goes on taking tasks, which a "
            "failover loses; write `min-replicas-to-write 1` in its configuration",
        )
    return Finding(subject="replication", text=f"{replicas} replicas, min-replicas-to-write is {needed}")


def _loss(subject: str, text: str) -> Finding:
    return Finding(subject=subject, text=text, is_warning=True, may_lose_tasks=True)


def _mebibytes(number: int) -> str:
    return f"{number / _MEBIBYTE:,.1f} MiB"
