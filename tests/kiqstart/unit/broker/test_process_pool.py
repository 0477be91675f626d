import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest
from taskiq import InMemoryBroker, TaskiqMessage
from tests.deadlines import HANG
from tests.kiqstart.unit.broker import pooled
from tests.process_table import is_gone

from kiqstart.broker.receiver.base import BaseReceiver
from kiqstart.broker.receiver.pool_process import RemoteTracebackError
from kiqstart.broker.receiver.process_pool import ProcessPool
from kiqstart.tasks.errors import ProcessLostError
from kiqstart.tasks.progress import reporting_run
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import UnserializableResultError
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

    await eventually(runs)
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

    await eventually(runs_again)
    # The pool goes on in the meantime, and what it cut off works for nobody any more.
    assert await pool.run(pooled.add, [1], {}) == 2
    first, second = processes(told)
    await eventually(lambda: is_gone(first))
    (tmp_path / "go").touch()
    assert await innocent == second
    with pytest.raises(ProcessLostError):
        await guilty


async def test_processes_that_die_while_they_have_nothing_to_do_are_replaced(pool: ProcessPool) -> None:
    both = {await call for call in [asyncio.create_task(pool.run(pooled.tell_slowly, [], {})) for _ in range(4)]}
    process, other = (one for one in both if isinstance(one, int))
    os.kill(process, signal.SIGKILL)
    executor: ProcessPoolExecutor = vars(pool)["_shared"].executor

    async def is_broken() -> bool:
        return bool(vars(executor)["_broken"])

    await eventually(is_broken)
    assert await pool.run(pooled.add, [1], {}) == 2
    # One that waits for what the first has taken with it would keep this process from ending.
    await eventually(lambda: is_gone(other))


async def test_a_process_that_dies_while_one_that_it_has_forked_lives_is_noticed(
    pool: ProcessPool, tmp_path: Path
) -> None:
    innocent = await waiting(pool, tmp_path, "innocent")
    guilty = asyncio.create_task(pool.run(pooled.die_with_helper, [str(tmp_path / "helper")], {}))

    async def runs_again() -> bool:
        return len(processes(tmp_path / "innocent")) == 2

    await eventually(runs_again)
    (tmp_path / "go").touch()
    assert await innocent == processes(tmp_path / "innocent")[1]
    with pytest.raises(ProcessLostError):
        await asyncio.wait_for(guilty, HANG)
    (helper,) = processes(tmp_path / "helper")
    os.kill(helper, signal.SIGKILL)


async def test_a_process_that_dies_in_the_middle_of_its_reply_is_noticed(pool: ProcessPool) -> None:
    with pytest.raises(ProcessLostError):
        await asyncio.wait_for(pool.run(pooled.die_in_reply, [], {}), HANG)
    assert await pool.run(pooled.add, [1], {}) == 2


async def test_an_idle_process_that_dies_while_one_that_it_has_forked_lives_costs_nobody_a_call() -> None:
    pool = ProcessPool(ProcessPoolExecutor(1))
    process = await pool.run(pooled.tell_process, [], {})
    helper = await pool.run(pooled.start_helper, [], {})
    assert isinstance(process, int)
    assert isinstance(helper, int)
    shared = vars(pool)["_shared"]
    executor: ProcessPoolExecutor = shared.executor
    manager: threading.Thread = vars(executor)["_executor_manager_thread"]
    os.kill(process, signal.SIGKILL)

    async def has_died() -> bool:
        # One whose main thread is a zombie already may not have ended with all of its threads.
        return bool(shared.has_died())

    await eventually(has_died)
    try:
        assert await asyncio.wait_for(pool.run(pooled.add, [1], {}), HANG) == 2
        # Python would wait for this thread when the worker ends.
        await asyncio.to_thread(threading.Thread.join, manager, 5)
        assert not manager.is_alive()
    finally:
        pool.close()
        os.kill(helper, signal.SIGKILL)


async def test_a_call_that_nobody_waits_for_any_more_has_its_process_until_it_ends(
    pool: ProcessPool, tmp_path: Path
) -> None:
    calls = [await waiting(pool, tmp_path, name) for name in ("one", "two")]
    for call in calls:
        call.cancel()
    later = [asyncio.create_task(pool.run(pooled.add, [number], {})) for number in range(8)]
    assert not (await asyncio.wait(later, timeout=0.2))[0]
    (tmp_path / "go").touch()
    assert await asyncio.wait_for(asyncio.gather(*later), HANG) == list(range(1, 9))


async def test_a_pool_that_is_closed_cuts_off_what_runs(pool: ProcessPool, tmp_path: Path) -> None:
    call = await waiting(pool, tmp_path)
    pool.close()
    (process,) = processes(tmp_path / "told")
    await eventually(lambda: is_gone(process))
    call.cancel()


async def test_signals_to_the_group_do_not_end_processes(pool: ProcessPool, tmp_path: Path) -> None:
    call = await waiting(pool, tmp_path)
    (process,) = processes(tmp_path / "told")
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(process, number)
    (tmp_path / "go").touch()
    assert await call == process


async def test_errors_of_any_class_come_back_by_their_names_and_the_pool_lives(pool: ProcessPool) -> None:
    process = await pool.run(pooled.tell_process, [], {})
    assert isinstance(process, int)
    with pytest.raises(pooled.NotToBeUnpickledError, match="7: odd"):
        await pool.run(pooled.raise_unreadable, [], {})
    for name in ("add_note", "__class__", "__reduce__", "__str__", "args", "__traceback__"):
        with pytest.raises(OSError, match="no text" if name == "__str__" else "no file") as local:
            await pool.run(pooled.raise_local, [name], {})
        assert type(local.value).__name__ == "LocalError"
    with pytest.raises(RuntimeError, match="StopIteration"):
        await pool.run(pooled.raise_stop_iteration, [], {})
    with pytest.raises(SystemExit):
        await pool.run(pooled.leave, [], {})
    with pytest.raises(TypeError, match="other") as caught:
        await pool.run(pooled.add, [1], {"another": 1})
    assert isinstance(caught.value.__cause__, RemoteTracebackError)
    assert "pool_process.py" in str(caught.value.__cause__)
    assert not await is_gone(process)


async def test_a_result_that_pickle_refuses_comes_back_as_json_has_it_or_is_refused_as_in_a_thread(
    pool: ProcessPool,
) -> None:
    assert await pool.run(pooled.give_local, [], {}) == [{"number": 1, "place": {"x": 2}}]
    text = r"the task's result \(dict\) cannot be sent as JSON at return_value.rows\[1\]: .*function"
    with pytest.raises(UnserializableResultError, match=text):
        await pool.run(pooled.give_function, [], {})
    with pytest.raises(UnserializableResultError, match=r"\(OnlyWritten\) cannot be brought out .* 'no number'"):
        await pool.run(pooled.give_only_written, [], {})


class Part:
    def tell_process(self) -> int:
        return os.getpid()


async def test_the_method_of_an_instance_stays_in_the_workers_process() -> None:
    broker = InMemoryBroker()
    task = register_task(broker, Part().tell_process, name="tell")
    message = TaskiqMessage(task_id="one", task_name="tell", labels={}, args=[], kwargs={})
    with ProcessPoolExecutor(1) as executor:
        receiver = BaseReceiver(broker, executor=executor)
        assert (await receiver.run_task(task.original_func, message)).return_value == os.getpid()


class Run:
    """A run of a task, of which one sees what it reports."""

    progress: tuple[float, float | None, str] | None = None


@pytest.mark.parametrize("method", ["fork", "spawn"])
async def test_what_functions_report_in_their_processes_is_their_runs(method: str, tmp_path: Path) -> None:
    pool = ProcessPool(ProcessPoolExecutor(2, multiprocessing.get_context(method)))
    runs, calls = [Run(), Run()], list[asyncio.Task[object]]()
    for number, run in enumerate(runs):
        context = copy_context()
        context.run(reporting_run.set, run)
        running = pool.run(pooled.report_until, [str(tmp_path / str(number))], {})
        calls.append(asyncio.create_task(running, context=context))

    async def both_are_told() -> bool:
        return [one.progress for one in runs] == [(999, 1000, "pages of https://me:***@db")] * 2

    await eventually(both_are_told)
    (tmp_path / "0").touch()
    assert await calls[0] == "reported"
    (tmp_path / "1").touch()
    assert await calls[1] == "reported"
    pool.close()


async def test_a_process_that_dies_while_it_reports_holds_up_no_other(pool: ProcessPool, tmp_path: Path) -> None:
    run = Run()
    reporting_run.set(run)
    for _ in range(3):
        with pytest.raises(ProcessLostError):
            await pool.run(pooled.report_then_die, [], {})
    call = asyncio.create_task(pool.run(pooled.report_until, [str(tmp_path / "go")], {}))

    async def is_told() -> bool:
        return run.progress == (999, 1000, "pages of https://me:***@db")

    await eventually(is_told)
    (tmp_path / "go").touch()
    assert await call == "reported"
