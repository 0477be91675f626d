"""The product's scripts, by their names; a simulation gives them its own time."""

import hashlib
import re
import sys
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Final, cast

from tests.simulation.version_n.worker import SCRIPT_NAMES as OLD_NAMES
from tests.simulation.version_n.worker import SCRIPT_TEXTS as OLD_TEXTS

from kiqstart.broker.script import Script

# All scripts are there when these are imported.
_MODULES: Final = (
    "scheduler.redis_store",
    "broker.broker",
    "broker.receiver.stream_receiver",
    "broker.unique_key_audit",
)
_FOLDERS: Final = ("broker", "scheduler")
# Redis makes an entry's id of its own clock, unless it is given one; and each server orders a set in a way of its own.
# These stand in the first line, so that errors name the same lines as in the product.
_HELPERS: Final = re.sub(
    r"\s+",
    " ",
    """
    local CLOCK = string.format('%.0f', tonumber(ARGV[#ARGV]))
    local function id_by_clock(stream)
        local found, last = redis.pcall('XINFO', 'STREAM', stream), ''
        for place = 1, #found, 2 do
            last = found[place] == 'last-generated-id' and found[place + 1] or last
        end
        local time, number = string.match(last, '^(%d+)-(%d+)$')
        if time and tonumber(time) >= tonumber(CLOCK) then
            return time .. '-' .. string.format('%.0f', tonumber(number) + 1)
        end
        return CLOCK .. '-0'
    end
    local function add_by_clock(call, stream, ...)
        local words, place = {...}, 1
        if words[1] == 'NOMKSTREAM' then
            place = 2
        elseif words[1] == 'MAXLEN' or words[1] == 'MINID' then
            place = 4
        end
        if words[place] == '*' then
            words[place] = id_by_clock(stream)
        end
        return call('XADD', stream, unpack(words))
    end
    local function members_in_order(call, key)
        local found = call('SMEMBERS', key)
        if found then
            table.sort(found)
        end
        return found
    end
    """,
)
_HELPED: Final = {
    re.compile(r"([\w.]+)\('XADD', "): "add_by_clock",
    re.compile(r"([\w.]+)\('SMEMBERS', "): "members_in_order",
}


@cache
def scripts() -> dict[str, list[Script[object]]]:
    """All objects of each script."""
    for module in _MODULES:
        import_module(f"kiqstart.{module}")
    names: dict[str, str] = {}
    for folder in _FOLDERS:
        for file in (files("kiqstart") / folder / "lua").iterdir():
            if file.name != "library.lua":
                name = file.name.removesuffix(".lua")
                names[Script(name, folder)._sha] = name if folder == "broker" else _distinct(name)
    found: dict[str, list[Script[object]]] = {name: [] for name in names.values()}
    for loaded in list(sys.modules.values()):
        if loaded.__name__.startswith("kiqstart."):
            for value in vars(loaded).values():
                if isinstance(value, Script) and value not in found[names[value._sha]]:
                    found[names[value._sha]].append(cast("Script[object]", value))
    return found


def script_names() -> dict[str, str]:
    """The name of each script by its SHA-1, and by the hash of its text, as they are now."""
    found = dict(OLD_NAMES)
    for name, some in scripts().items():
        for one in some:
            # Which of the two sends depends on what is sent; whatever happens to one may happen to the other.
            found[one._sha] = found[str(hash(one._text))] = "send" if name == "send_plain" else name
    return found


def script_texts() -> list[str]:
    """All scripts, as they are now, and those of the version before, by the simulated clock."""
    now = [one._text for some in scripts().values() for one in some]
    return [by_clock(text) for text in (*now, *OLD_TEXTS.values())]


def shas_by_clock() -> dict[str, str]:
    """The SHA-1 of each script by the simulated clock, by that of the script as it is now."""
    found = {sha: sha_of(by_clock(text)) for sha, text in OLD_TEXTS.items()}
    for some in scripts().values():
        found |= {one._sha: sha_of(by_clock(one._text)) for one in some}
    return found


@cache
def by_clock(text: str) -> str:
    """A script that does the same each time: ids of entries are of the time that it is given last, sets are sorted."""
    changed = text
    for calling, helper in _HELPED.items():
        changed = calling.sub(rf"{helper}(\1, ", changed)
    return changed if changed == text else _HELPERS + changed


@cache
def sha_of(text: str) -> str:
    """By which Redis knows a script."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _distinct(name: str) -> str:
    # The schedulers have some scripts whose names say little beside those of the broker.
    return name if name in ("fire", "poll") else f"schedule-{name}"
