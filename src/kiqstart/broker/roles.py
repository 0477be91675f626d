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
    """Uses the command line and the dashboard, to look and to change."""
    VIEWER = "viewer"
    """Uses the dashboard, and those commands that change nothing."""
    MONITOR = "monitor"
    """`kiqstart metrics` and `kiqstart check --scheduler`; changes nothing, and reads no results."""


_CONNECTING: Final = "client|setname ping select"
_RUNNING_SCRIPTS: Final = "eval evalsha"
_COUNTING: Final = (
    "get hgetall hkeys hmget mget scard smembers smismember srandmember time xinfo|groups xlen xpending xrange"
    " xrevrange zcard zcount zmscore zrange"
)
_PRODUCING: Final = (
    "del exists get hmget hscan mget set smembers smismember subscribe time unsubscribe xrange zmscore zrem"
)
_WORKING: Final = (
    "hdel hgetall hkeys sadd srandmember srem xlen xpending xreadgroup zadd zcard zrange zrangebyscore zscore"
    " xinfo|consumers"
)
_SCHEDULING: Final = "del get hmget hscan set smembers smismember time zmscore zrange zrem"
_OPERATING: Final = "hdel hsetnx xdel xrevrange xtrim"
_VIEWING: Final = "mget hscan xrevrange"

_PRODUCERS: Final = (
    *("send", "cancel", "cancel_entry", "flush_stats", "unmark"),
    *("scheduler/add", "scheduler/read", "scheduler/remove"),
)
_WORKERS: Final = (
    "acknowledge",
    "adopt",
    "announce",
    "audit_keys",
    "beat",
    "bound_runs",
    "bury",
    "condemn",
    "fence",
    "fetch",
    "find_holders",
    "forget_queue",
    "free_keys",
    "give_back",
    "leave",
    "move",
    "note_older_data",
    "recall",
    "reclaim",
    "register",
    "say_known",
    "say_running",
    "settle",
    "strays",
    "tend",
    "testify",
    "watch",
)
_SCHEDULERS: Final = tuple(
    f"scheduler/{name}" for name in ("answers", "fire", "poll", "read", "reschedule_earlier", "set_aside", "set_table")
)
# Of who looks at queues, runs and letters.
_READERS: Final = (
    "find_entries",
    "find_runs",
    "letter_ids",
    "letters",
    "letters_after",
    "read_delayed",
)
_VIEWERS: Final = (*_READERS, "scheduler/read")
_OPERATORS: Final = (
    *_READERS,
    "record_acts",
    "resend",
    "resend_run",
    "scheduler/pause",
    "scheduler/resume",
)

# By role: its scripts, and the commands that it sends itself.
_NEEDS: Final[Mapping[Role, tuple[Sequence[str], str]]] = {
    Role.PRODUCER: (_PRODUCERS, f"{_RUNNING_SCRIPTS} {_PRODUCING}"),
    Role.WORKER: ((*_PRODUCERS, *_WORKERS), f"{_RUNNING_SCRIPTS} {_PRODUCING} {_WORKING}"),
    Role.SCHEDULER: ((*_SCHEDULERS, "flush_stats"), f"{_RUNNING_SCRIPTS} {_SCHEDULING}"),
    Role.OPERATOR: ((*_PRODUCERS, *_OPERATORS), f"{_RUNNING_SCRIPTS} {_PRODUCING} {_COUNTING} {_OPERATING}"),
    Role.VIEWER: (_VIEWERS, f"{_RUNNING_SCRIPTS} {_COUNTING} {_VIEWING}"),
    Role.MONITOR: ((), _COUNTING),
}
# Their keys are the queue's own; results have others, unless they are kept below the queue's name.
_WITHOUT_RESULTS: Final = frozenset({Role.SCHEDULER, Role.MONITOR})
# They neither announce results nor wait for them.
_WITHOUT_CHANNELS: Final = _WITHOUT_RESULTS | {Role.VIEWER}


@cache
def commands_of(role: Role) -> frozenset[str]:
    """The commands that a role needs, as an ACL names them: `xadd`, `xgroup|create`."""
    scripts, own = _NEEDS[role]
    commands = {*_CONNECTING.split(), *own.split()}
    for name in scripts:
        package, _, file = name.rpartition("/")
        commands |= Script(file, package or "broker").commands
    return frozenset(commands)


def reads_results(role: Role) -> bool:
    """Whether a role needs the keys of results."""
    return role not in _WITHOUT_RESULTS


def uses_channels(role: Role) -> bool:
    """Whether a role needs the channels of results."""
    return role not in _WITHOUT_CHANNELS


def acl_rules(role: Role, keys: QueueKeys) -> list[str]:
    """What `ACL SETUSER` takes to give a user the rights of a role, and no others."""
    results = pattern_of(keys.result("*"))
    if not reads_results(role):
        access = "%R~" if role is Role.MONITOR else "~"
        places = [f"{access}{pattern}" for pattern in keys.patterns]
    else:
        patterns = dict.fromkeys(map(pattern_of, (keys.name, keys.workers, results)))
        places = [f"~{pattern}" for pattern in patterns]
        places += [f"&{results}"] if uses_channels(role) else []
    return [*places, "-@all", *(f"+{command}" for command in sorted(commands_of(role)))]
