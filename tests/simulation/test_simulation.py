import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.simulation.defects import DEFECTS, Search, find_defect, put_back
from tests.simulation.history import play
from tests.simulation.kept import FOLDER, load
from tests.simulation.plans import plan_of, race_of
from tests.simulation.scripts import script_texts
from tests.simulation.server import Server, forget_the_killed

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    gc.disable()
    yield
    forget_the_killed()
    gc.enable()


def test_no_history_breaks_a_promise() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--histories", "30", "--processes", "1"]
    played = subprocess.run(
        command, cwd=_ROOT, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False
    )
    assert played.returncode == 0, played.stdout + played.stderr
    assert "30 histories from seed 0: 0 break a promise" in played.stdout


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_what_broke_a_promise_once_keeps_it_now(server: Server, file: Path) -> None:
    assert not play(load(file), server).broken


def test_a_history_is_the_same_each_time_on_each_server(server: Server) -> None:
    lines: list[list[str]] = [[], [], []]
    verdicts = [play(plan_of(17), server, trace=some.append) for some in lines[:2]]
    with Server() as other:
        verdicts.append(play(plan_of(17), other, trace=lines[2].append))
    assert verdicts[0] == verdicts[1] == verdicts[2]
    assert len(lines[0]) > 100
    assert lines[0] == lines[1] == lines[2]


def test_no_script_leaves_ids_of_entries_to_the_servers_clock() -> None:
    texts = script_texts()
    assert sum("add_by_clock(redis" in text for text in texts) > 10
    assert not any("redis.call('XADD'" in text or "redis.pcall('XADD'" in text for text in texts)


@pytest.mark.parametrize("defect", ["a key is not released", "a key is released by a retry"])
def test_a_defect_is_found(defect: str) -> None:
    assert find_defect(defect, Search(seed=0, histories=40, seconds=120.0)) is not None


@pytest.mark.parametrize(
    ("race", "defect"),
    [
        ("half_a_move", "moving adds what it may not remove"),
        ("twins_apart", "the mark goes with the first that is cancelled"),
        ("beat_before_the_fence", "fencing does not look for a new beat"),
        ("forgotten_worker", "orphans are taken at once"),
        ("late_reader", "what comes to a name that is gone has a death counted"),
        ("read_beside_reclaim", "what is handed to a dead worker as others take over has a death counted"),
        ("cancelled_once", "a further try of a cancellation is another one"),
        ("forgotten_worker", "reclaim takes what a living worker has"),
        ("thawed_reader", "a fetch asks nobody whether it may"),
        ("lost_count", "a lost count of marks loses what was read"),
        ("rolling_deploy", "what was left is a dead letter after the grace, whoever lives"),
        ("rolling_deploy", "a worker takes again what it has left"),
        ("frozen_reader", "a read waits for longer than its worker's lease"),
        ("killed_with_its_ward", "a worker testifies at once"),
        ("crowded_ward", "the first of several suspects is guilty"),
        ("acknowledged_first", "what was acknowledged before it ran runs again"),
        ("acknowledged_first", "nobody hears of what is cut off"),
        ("acknowledged_first", "what is acknowledged before it runs leaves its worker"),
        ("cancelled_as_it_runs", "nobody looks for what was cancelled while it runs"),
        ("older_data", "a worker that older data do not know cancels what it runs"),
        ("older_data", "what ends before its worker is registered again is dropped"),
        ("older_data", "those whom older data have as workers die of what they have there"),
        ("older_data_twice", "what was noted of older data counts for others with which Redis comes back later"),
        ("older_data_unanswered", "a beat without an answer hides that Redis has older data"),
        ("sent_again_twice", "a failed run is sent again by all who ask"),
        ("sent_again_twice", "a failed run is noted as sent again, and is not"),
        ("sent_again_twice", "a failed run is sent again without its key"),
        ("older_data_in_a_ward", "a witness does not look whether Redis has older data"),
    ],
)
def test_a_race_finds_the_defect_that_it_is_for(server: Server, race: str, defect: str) -> None:
    with put_back(defect):
        assert any(play(race_of(race, seed), server).broken for seed in range(20))


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_can_be_put_back(defect: str) -> None:
    with put_back(defect):
        pass
