"""Which names a queue may have: they become part of keys in Redis, and are printed."""

from typing import Final

LONGEST_QUEUE_NAME: Final = 200
# What the keys of a queue's other streams end with: `low:suspects` would be a stream of the queue `low`.
_RESERVED: Final = (":returned", ":suspects", ":isolated", ":misfits")


def queue_name_problem(name: object) -> str | None:
    """Why a queue cannot have this name; None where it can."""
    if not isinstance(name, str):
        return "a queue's name is text"
    if not 0 < len(name) <= LONGEST_QUEUE_NAME:
        return f"a queue's name has 1 to {LONGEST_QUEUE_NAME} characters"
    # Of what is a space, Python takes this one alone for printable.
    if not name.isprintable() or " " in name:
        return "a queue's name has no space and no control character"
    if name.endswith(_RESERVED):
        return f"a queue's name does not end with {', '.join(_RESERVED)}"
    return None
