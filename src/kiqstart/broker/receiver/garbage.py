"""How often a worker looks for garbage."""

import gc
from typing import Final

_NEW_OBJECTS: Final = 20_000


def collect_garbage_seldom() -> None:
    """Let this process look for cycles of objects once in 20,000 new ones, unless it does so more seldom or never.

    A task makes some dozen objects, of which none is part of a cycle. With Python's default of 700 a worker would look
    through the same living objects many times for each batch.
    """
    newest, *older = gc.get_threshold()
    if 0 < newest < _NEW_OBJECTS:
        gc.set_threshold(_NEW_OBJECTS, *older)
