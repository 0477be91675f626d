"""The product's scripts, by their names; a simulation gives them its own time."""

import sys
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Final

from tests.simulation.version_n.worker import SCRIPT_NAMES as OLD_NAMES

from kiqstart.broker.script import Script

# All scripts are there when these are imported.
_MODULES: Final = (
    "scheduler.redis_store",
    "broker.broker",
    "broker.receiver.stream_receiver",
    "broker.unique_key_audit",
)
_FOLDERS: Final = ("broker", "scheduler")


@cache
def scripts() -> dict[str, list[Script]]:
    """All objects of each script."""
    for module in _MODULES:
        import_module(f"kiqstart.{module}")
    names: dict[str, str] = {}
    for folder in _FOLDERS:
        for file in (files("kiqstart") / folder / "lua").iterdir():
            if file.name != "library.lua":
                name = file.name.removesuffix(".lua")
                names[Script(name, folder)._sha] = name if folder == "broker" else _distinct(name)
    found: dict[str, list[Script]] = {name: [] for name in names.values()}
    for loaded in list(sys.modules.values()):
        if loaded.__name__.startswith("kiqstart."):
            for value in vars(loaded).values():
                if isinstance(value, Script) and value not in found[names[value._sha]]:
                    found[names[value._sha]].append(value)
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
    """All scripts, as they are now."""
    return [one._text for some in scripts().values() for one in some]


def _distinct(name: str) -> str:
    # The schedulers have some scripts whose names say little beside those of the broker.
    return name if name in ("fire", "look") else f"schedule-{name}"
