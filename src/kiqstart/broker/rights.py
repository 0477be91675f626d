"""Which rights the user of Redis lacks, so that an operator reads one line with what to do, and no traceback.

Nobody has to be allowed `ACL DRYRUN` for that: each command is tried on a key of its own, a text that lives for a
second, on which commands for streams, hashes and sets fail without changing anything. Redis looks at rights first.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kiqstart.broker.keys import QueueKeys, pattern_of
from kiqstart.broker.redis_retry import is_unauthorized, reason
from kiqstart.broker.roles import Role, commands_of, reads_results, uses_channels
from kiqstart.errors import OperatorError
from kiqstart.redis.commands import ScriptClient

# What workers, senders, schedulers and commands ask of Redis. SET comes first: it makes the key.
PROBES: Final[tuple[str, ...]] = (
    "SET KEY text PX 1000",
    "GET KEY",
    "MGET KEY",
    "EXISTS KEY",
    "TYPE KEY",
    "MEMORY USAGE KEY",
    "INCRBY KEY 1",
    "TIME",
    "XADD KEY * field value",
    "XACK KEY group 1-1",
    "XDEL KEY 1-1",
    "XLEN KEY",
    "XTRIM KEY MAXLEN 1",
    "XRANGE KEY - +",
    "XREVRANGE KEY + -",
    "XPENDING KEY group",
    "XGROUP CREATE KEY group 0",
    "XGROUP DELCONSUMER KEY group consumer",
    "XINFO CONSUMERS KEY group",
    "XINFO GROUPS KEY",
    "XREADGROUP GROUP group consumer STREAMS KEY >",
    "HGET KEY field",
    "HSET KEY field value",
    "HSETNX KEY field value",
    "HINCRBY KEY field 1",
    "PEXPIRE KEY 1000",
    "HDEL KEY field",
    "HEXISTS KEY field",
    "HSTRLEN KEY field",
    "STRLEN KEY",
    "HGETALL KEY",
    "HLEN KEY",
    "HMGET KEY field",
    "HKEYS KEY",
    "HSCAN KEY 0",
    "SADD KEY member",
    "SREM KEY member",
    "SISMEMBER KEY member",
    "SMISMEMBER KEY member",
    "SMEMBERS KEY",
    "SCARD KEY",
    "SRANDMEMBER KEY",
    "ZADD KEY 1 member",
    "ZREM KEY member",
    "ZSCORE KEY member",
    "ZMSCORE KEY member",
    "ZCARD KEY",
    "ZCOUNT KEY 0 1",
    "ZRANGE KEY 0 1",
    "ZRANGEBYSCORE KEY 0 1",
    "ZREMRANGEBYSCORE KEY 0 1",
    "ZREMRANGEBYRANK KEY 0 1",
    "DEL KEY",
)
_SUBCOMMANDS: Final = ("XGROUP", "XINFO", "MEMORY")
# KEYS 1 the key; ARGV the number of words of each probe, and the words. Returns the places of those that are refused.
_TRY: Final = """
local refused, place, number = {}, 1, 0
while place <= #ARGV do
    local words = {}
    for word = place + 1, place + ARGV[place] do
        table.insert(words, ARGV[word] == 'KEY' and KEYS[1] or ARGV[word])
    end
    place, number = place + ARGV[place] + 1, number + 1
    local answer = redis.pcall(unpack(words))
    local text = type(answer) == 'table' and answer['err'] or ''
    if string.find(text, 'NOPERM') or string.find(text, 'ACL failure in script', 1, true)
        or string.find(text, "user executing the script can't", 1, true) then
        table.insert(refused, number)
        if number == 1 then
            -- Without the key, the others would do what they say.
            return refused
        end
    end
end
return refused
"""
_NOTHING: Final = "return 1"
_PUBLISH: Final = "return redis.call('PUBLISH', ARGV[1], '')"
_UNKNOWN_SCRIPT: Final = "0" * 40


class MissingRightsError(OperatorError):
    """The user of Redis lacks rights. The message names them as `ACL SETUSER` takes them."""


async def check_rights(redis: ScriptClient, keys: QueueKeys, *, address: str, role: Role | None = None) -> None:
    """Try all that is ever asked of Redis, without harm.

    Args:
        redis: an async client of a server or a cluster.
        keys: the queue's names.
        address: where Redis is, for the message.
        role: as which Redis is used; None: as each of them.

    Raises:
        MissingRightsError: one line with what to add to the user's rights.
        RedisError: Redis is away, or lets this user in not at all.
    """
    missing = await missing_rights(redis, keys, role)
    if missing:
        raise MissingRightsError(
            f"the user of Redis at {address} lacks rights: add {' '.join(missing)} with ACL SETUSER, or in its ACL file"
        )


async def missing_rights(redis: ScriptClient, keys: QueueKeys, role: Role | None = None) -> list[str]:
    """What the user lacks: commands as `+xadd`, keys as `~{name}*`, channels as `&{name}*`.

    Args:
        redis: an async redis of a server or a cluster.
        keys: the queue's names.
        role: as which Redis is used; None: as each of them.

    Raises:
        RedisError: Redis is away, or lets this user in not at all.
    """
    needed = None if role is None else commands_of(role)
    if needed is not None and "eval" not in needed:
        return await _missing_reads(redis, keys, needed)
    missing = [
        right
        for right, command in (
            ("+evalsha", ("EVALSHA", _UNKNOWN_SCRIPT, 1, keys.workers)),
            ("+eval", ("EVAL", _NOTHING, 1, keys.workers)),
        )
        if "run the" in await _refusal(redis, *command)
    ]
    if "+eval" in missing:
        # All else is tried by a script.
        return missing
    missing += await _missing_keys(redis, keys, [keys.result("*")] if role is None or reads_results(role) else [])
    if f"~{pattern_of(keys.workers)}" not in missing:
        missing += await _missing_commands(redis, keys, needed)
    return missing + (await _missing_channels(redis, keys) if role is None or uses_channels(role) else [])


async def _missing_reads(client: ScriptClient, keys: QueueKeys, needed: AbstractSet[str]) -> list[str]:
    """Of a role that changes nothing, so that each command may be sent as it is."""
    missing: list[str] = []
    for probe in _probes(needed):
        words = [keys.probe if word == "KEY" else word for word in probe]
        text = await _refusal(client, *words)
        if text:
            missing.append(_right(probe) if "run the" in text else f"%R~{pattern_of(keys.probe)}")
    return list(dict.fromkeys(missing))


def _probes(needed: AbstractSet[str] | None) -> list[list[str]]:
    probes: list[list[str]] = [list(probe.split()) for probe in PROBES]
    return probes if needed is None else [probe for probe in probes if _right(probe).removeprefix("+") in needed]


async def _missing_keys(client: ScriptClient, keys: QueueKeys, results: Sequence[str]) -> list[str]:
    refused = [
        pattern_of(key)
        for key in (keys.name, keys.workers, *results)
        if await _refusal(client, "EVAL", _NOTHING, 1, key)
    ]
    return [f"~{pattern}" for pattern in dict.fromkeys(refused)]


async def _missing_commands(client: ScriptClient, keys: QueueKeys, needed: AbstractSet[str] | None) -> list[str]:
    probes = _probes(needed)
    words: list[str | int] = []
    for probe in probes:
        words += [len(probe), *probe]
    places = cast("list[int]", await client.execute_command("EVAL", _TRY, 1, keys.probe, *words))
    return [_right(probes[place - 1]) for place in places]


async def _missing_channels(client: ScriptClient, keys: QueueKeys) -> list[str]:
    channel, pattern = keys.result("rights"), f"&{pattern_of(keys.result('*'))}"
    text = await _refusal(client, "EVAL", _PUBLISH, 0, channel)
    missing = [pattern if "channel" in text else "+publish"] if text else []
    if isinstance(client, Redis):
        async with client.pubsub() as listening:
            try:
                await listening.subscribe(channel)
                await listening.parse_response()
            except RedisError as error:
                if not is_unauthorized(error):
                    raise
                missing.append(pattern if "channel" in str(error) else "+subscribe")
    return list(dict.fromkeys(missing))


async def _refusal(client: ScriptClient, *command: str | int) -> str:
    """With which words Redis refuses a command for want of rights; '' if it does not."""
    try:
        await client.execute_command(*command)
    except RedisError as error:
        if "password" in str(error) or "Authentication" in str(error):
            raise
        return reason(error) if is_unauthorized(error) else ""
    return ""


def _right(probe: Sequence[str]) -> str:
    command = probe[0].lower()
    return f"+{command}|{probe[1].lower()}" if probe[0] in _SUBCOMMANDS else f"+{command}"
