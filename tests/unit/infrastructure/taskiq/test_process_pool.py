import asyncio
import os
import signal
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from tests.process_table import is_gone
from tests.unit.infrastructure.taskiq import pooled

from kiqstart.infrastructure.taskiq.errors import ProcessLostError
from kiqstart.infrastructure.taskiq.pool_process import RemoteTracebackError, UnpicklableError
from kiqstart.infrastructure.taskiq.process_pool import ProcessPool
from kiqstart.testing import eventually


@pytest.fixture
def pool() -> Generator[ProcessPool]:
    made = ProcessPool(ProcessPoolExecutor(2))
    yield made
    made.close()


def processes(told: Path) -> list[int]:
    return [int(line) for line in told.read_text().splitlines()] if told.exists() else []


async def waiting(pool: ProcessPool, folder: Path, name: str = "told") -> "asyncio.Task[object]":
    """A call that runs in the pool until the file `go` is there."""
    told = folder / name
    call = asyncio.create_task(pool.run(pooled.wait_for, [str(folder / "go")], {"told": str(told)}))

    async def runs() -> bool:
        return bool(processes(told))

    await eventually(runs, within=10)
    return call


async def test_functions_run_in_other_processes(pool: ProcessPool) -> None:
    assert await pool.run(pooled.add, [1], {"other": 2}) == 3
    assert await pool.run(pooled.tell_process, [], {}) != os.getpid()


async def test_a_function_that_takes_its_process_down_alone_is_to_blame_and_later_ones_run(pool: ProcessPool) -> None:
    for _ in range(2):
        with pytest.raises(ProcessLostError):
            await pool.run(pooled.die, [], {})
        assert await pool.run(pooled.add, [1], {}) == 2


async def test_of_several_in_a_pool_that_dies_only_the_one_to_blame_is_lost(pool: ProcessPool, tmp_path: Path) -> None:
    told = tmp_path / "told"
    innocent = await waiting(pool, tmp_path)
    guilty = asyncio.create_task(pool.run(pooled.die, [], {}))

    async def runs_again() -> bool:
        return len(processes(told)) == 2

    await eventually(runs_again, within=10)
    # The pool goes on in the meantime, and what it cut off works for nobody any more.
    assert await pool.run(pooled.add, [1], {}) == 2
    first, second = processes(told)
    await eventually(lambda: is_gone(first), within=10)
    (tmp_path / "go").touch()
    assert await innocent == second
    with pytest.raises(ProcessLostError):
        await guilty


async def test_processes_that_die_while_they_have_nothing_to_do_are_replaced(pool: ProcessPool) -> None:
    process = await pool.run(pooled.tell_process, [], {})
    assert isinstance(process, int)
    os.kill(process, signal.SIGKILL)
    await eventually(lambda: is_gone(process), within=10)
    try:
        assert await pool.run(pooled.add, [1], {}) == 2
    except ProcessLostError:
        # The executor had not noticed yet, and the call was lost with the process that nobody had.
        assert await pool.run(pooled.add, [1], {}) == 2


async def test_a_call_that_nobody_waits_for_any_more_has_its_process_until_it_ends(
    pool: ProcessPool, tmp_path: Path
) -> None:
    calls = [await waiting(pool, tmp_path, name) for name in ("one", "two")]
    for call in calls:
        call.cancel()
    later = [asyncio.create_task(pool.run(pooled.add, [number], {})) for number in range(8)]
    assert not (await asyncio.wait(later, timeout=0.2))[0]
    (tmp_path / "go").touch()
    assert await asyncio.wait_for(asyncio.gather(*later), 10) == list(range(1, 9))


async def test_a_pool_that_is_closed_cuts_off_what_runs(pool: ProcessPool, tmp_path: Path) -> None:
    call = await waiting(pool, tmp_path)
    pool.close()
    (process,) = processes(tmp_path / "told")
    await eventually(lambda: is_gone(process), within=10)
    call.cancel()


async def test_signals_to_the_group_do_not_end_processes(pool: ProcessPool, tmp_path: Path) -> None:
    call = await waiting(pool, tmp_path)
    (process,) = processes(tmp_path / "told")
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(process, number)
    (tmp_path / "go").touch()
    assert await call == process


async def test_errors_of_any_class_come_back_and_the_pool_lives(pool: ProcessPool) -> None:
    process = await pool.run(pooled.tell_process, [], {})
    with pytest.raises(UnpicklableError, match=r"pooled\.NotToBeUnpickledError: 7: odd"):
        await pool.run(pooled.raise_unreadable, [], {})
    with pytest.raises(RuntimeError, match="StopIteration"):
        await pool.run(pooled.raise_stop_iteration, [], {})
    with pytest.raises(SystemExit):
        await pool.run(pooled.leave, [], {})
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        await pool.run(pooled.give_function, [], {})
    with pytest.raises(TypeError, match="other") as caught:
        await pool.run(pooled.add, [1], {"another": 1})
    assert isinstance(caught.value.__cause__, RemoteTracebackError)
    assert "pool_process.py" in str(caught.value.__cause__)
    assert process in [await pool.run(pooled.tell_process, [], {}) for _ in range(4)]
