"""The least that each role needs of Redis' ACL: the commands of its scripts, and those that it sends itself."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Final

from kiqstart.broker.keys import QueueKeys, pattern_of
from kiqstart.broker.script import Script


class Role(StrEnum):
    """Who uses a queue."""

    PRODUCER = "producer"
    """Sends tasks, cancels them, waits for their results, adds and removes schedules."""
    WORKER = "worker"
    """Runs tasks, which may send others."""
    SCHEDULER = "scheduler"
    """Sends what is due."""
    OPERATOR = "operator"
    """Uses the command line, to look and to change."""
    MONITOR = "monitor"
    """`kiqstart metrics` and `kiqstart check --scheduler`; changes nothing, and reads no results."""


_CONNECTING: Final = "client|setname ping select"
_RUNNING_SCRIPTS: Final = "eval evalsha"
_COUNTING: Final = (
    "get hgetall hkeys hmget scard smembers smismember srandmember time xinfo|groups xlen xpending xrange zcard zcount"
    " zmscore zrange"
)
_PRODUCING: Final = (
    "del exists get hmget hscan mget set smembers smismember subscribe time unsubscribe xrange zmscore zrem"
)
_WORKING: Final = (
    "hdel hgetall sadd srandmember srem xlen xpending xreadgroup zadd zcard zrange zrangebyscore zscore xinfo|consumers"
)
_SCHEDULING: Final = "del get hmget hscan set smembers smismember time zmscore zrange zrem"
_OPERATING: Final = "xdel xrevrange xtrim"

_PRODUCERS: Final = ("send", "cancel", "cancel_entry", "scheduler/add", "scheduler/read", "scheduler/remove")
_WORKERS: Final = (
    "acknowledge",
    "adopt",
    "announce",
    "audit_keys",
    "beat",
    "bury",
    "condemn",
    "fence",
    "fetch",
    "find_holders",
    "flush_stats",
    "forget_queue",
    "free_keys",
    "give_back",
    "leave",
    "move",
    "recall",
    "reclaim",
    "register",
    "say_known",
    "settle",
    "tend",
    "testify",
)
_SCHEDULERS: Final = tuple(
    f"scheduler/{name}" for name in ("answers", "fire", "hurry", "look", "read", "set_aside", "set_table")
)
_OPERATORS: Final = ("letters", "resend", "scheduler/pause", "scheduler/resume")

# By role: its scripts, and the commands that it sends itself.
_NEEDS: Final[Mapping[Role, tuple[Sequence[str], str]]] = {
    Role.PRODUCER: (_PRODUCERS, f"{_RUNNING_SCRIPTS} {_PRODUCING}"),
    Role.WORKER: ((*_PRODUCERS, *_WORKERS), f"{_RUNNING_SCRIPTS} {_PRODUCING} {_WORKING}"),
    Role.SCHEDULER: (_SCHEDULERS, f"{_RUNNING_SCRIPTS} {_SCHEDULING}"),
    Role.OPERATOR: ((*_PRODUCERS, *_OPERATORS), f"{_RUNNING_SCRIPTS} {_PRODUCING} {_COUNTING} {_OPERATING}"),
    Role.MONITOR: ((), _COUNTING),
}
# Their keys are the queue's own; results have others, unless they are kept below the queue's name.
_WITHOUT_RESULTS: Final = frozenset({Role.SCHEDULER, Role.MONITOR})


@cache
def commands_of(role: Role) -> frozenset[str]:
    """The commands that a role needs, as an ACL names them: `xadd`, `xgroup|create`."""
    scripts, own = _NEEDS[role]
    commands = {*_CONNECTING.split(), *own.split()}
    for name in scripts:
        package, _, file = name.rpartition("/")
        commands |= Script(file, package or "broker").commands
    return frozenset(commands)


def acl_rules(role: Role, keys: QueueKeys) -> list[str]:
    """What `ACL SETUSER` takes to give a user the rights of a role, and no others."""
    results = pattern_of(keys.result("*"))
    if role in _WITHOUT_RESULTS:
        access = "%R~" if role is Role.MONITOR else "~"
        places = [f"{access}{pattern}" for pattern in keys.patterns]
    else:
        patterns = dict.fromkeys(map(pattern_of, (keys.name, keys.workers, results)))
        places = [*(f"~{pattern}" for pattern in patterns), f"&{results}"]
    return [*places, "-@all", *(f"+{command}" for command in sorted(commands_of(role)))]
