"""A few odd inputs for each surface, with the seed of the day; `make fuzz` tries as many as there is time for."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.fuzz.rounds import Round
from tests.fuzz.surface import Ground, Surface
from tests.fuzz.surfaces import SURFACES


@pytest.fixture
def ground(redis_url: str, key_prefix: str, database_url: str, tmp_path: Path) -> Ground:
    return Ground(redis_url=redis_url, database_url=database_url, prefix=key_prefix, folder=tmp_path)


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
def test_odd_inputs_harm_nothing_but_themselves(ground: Ground, surface: Surface) -> None:
    seed = int(datetime.now(UTC).strftime("%Y%m%d"))
    finding = Round(surface=surface, seed=seed).play(ground, examples=surface.examples, shrinks=False)
    assert finding is None, str(finding)
