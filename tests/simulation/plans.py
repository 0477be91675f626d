"""Histories by chance: which things happen, when and to whom."""

from typing import Final

from tests.simulation.chance import Chance
from tests.simulation.happenings import GENTLE, HAPPENINGS
from tests.simulation.plan import Plan
from tests.simulation.races import RACES

# Of so many parts, one has a race at its heart; the others are left to chance alone.
_WITH_A_RACE: Final = 0.4
_GENTLE: Final = 0.15


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    chance = Chance(seed)
    if chance.random.random() < _WITH_A_RACE:
        _add_race(chance)
    else:
        _add_anything(chance)
    if chance.random.random() < 0.25:
        chance.schedule()
    return chance.plan()


def race_of(name: str, seed: int) -> Plan:
    """A race with nothing beside it."""
    chance = Chance(seed)
    RACES[name](chance)
    return chance.plan()


def _add_race(chance: Chance) -> None:
    random = chance.random
    RACES[random.choice(list(RACES))](chance)
    for _ in range(random.randint(0, 3)):
        chance.send()
    if random.random() < 0.3:
        HAPPENINGS[random.choice(list(HAPPENINGS))](chance)


def _add_anything(chance: Chance) -> None:
    random = chance.random
    kinds = [kind for kind in HAPPENINGS if random.random() < 0.35]
    if random.random() < _GENTLE:
        chance.is_gentle = True
        kinds = [kind for kind in GENTLE if random.random() < 0.5]
    for _ in range(random.randint(4, 14)):
        chance.send()
    for _ in range(random.randint(0, 10)):
        if kinds:
            HAPPENINGS[random.choice(kinds)](chance)
