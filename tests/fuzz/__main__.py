"""Tries odd inputs for as long as is wanted: `make fuzz`."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from tests.fuzz.rounds import Round
from tests.fuzz.surface import Ground, Surface
from tests.fuzz.surfaces import SURFACES
from tests.planted_secrets import planted
from tests.service import migrated_database

from kiqstart.testing.servers import delete_keys_of, running_servers

_ROOT: Final = Path(__file__).parents[2]
_EXAMPLES: Final = 50


@contextmanager
def _ground() -> Generator[Ground]:
    with (
        running_servers(_ROOT / ".local" / "fuzz") as plain,
        tempfile.TemporaryDirectory(prefix="kiqstart-fuzz-") as folder,
    ):
        servers = planted(plain)
        prefix = f"kiqstart-fuzz-{uuid4().hex[:12]}"
        with migrated_database(servers.database_url) as database_url:
            yield Ground(
                redis_url=str(servers.redis_url), database_url=database_url, prefix=prefix, folder=Path(folder)
            )
        asyncio.run(delete_keys_of(str(servers.redis_url), prefix))


def _fuzz(surface: Surface, ground: Ground, first_seed: int, seconds: float) -> bool:
    """Play rounds until the time is over or there is a finding; each says nothing where all held."""
    until, seed, inputs, odd_things = time.monotonic() + seconds, first_seed, 0, 0
    while True:
        played = Round(surface=surface, seed=seed)
        finding = played.play(ground, examples=_EXAMPLES, shrinks=True)
        inputs, odd_things = inputs + played.inputs, odd_things + played.odd_things
        if finding is not None:
            sys.stdout.write(f"{finding}\n")
            return False
        seed += 1
        if time.monotonic() >= until:
            break
    sys.stdout.write(
        f"{surface.name:14} {odd_things:9,} odd things in {inputs:,} inputs, seeds {first_seed} to {seed - 1}: held\n"
    )
    sys.stdout.flush()
    return True


def main() -> int:
    """Fuzz each surface, or one; return 1 where something was found."""
    today = int(datetime.now(UTC).strftime("%Y%m%d")) * 1000
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--surface", choices=sorted(SURFACES), help="only this one")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each surface; 0 for a single round")
    parser.add_argument("--seed", type=int, default=today, help="of the first round; the day's, unless one is given")
    options = parser.parse_args()
    surfaces = [SURFACES[options.surface]] if options.surface else list(SURFACES.values())
    with _ground() as ground:
        held = [_fuzz(one, ground, options.seed, options.minutes * 60) for one in surfaces]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
