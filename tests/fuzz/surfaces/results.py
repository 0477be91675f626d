"""Results and progress: what lies under a task's id, for whoever waits."""

import asyncio
import traceback
from contextlib import suppress
from typing import Any, Final

from hypothesis import strategies as st
from redis.asyncio import Redis
from taskiq.exceptions import ResultGetError
from tests.deadlines import HANG
from tests.fuzz.judge import judged_log
from tests.fuzz.odd import ANY_TEXTS, BAIT, BYTES, DEEP, JSON, LEAVES, NUMBERS, TRAP, as_json, changed, damaged
from tests.fuzz.surface import Ground, Surface
from tests.kiqstart.integration.broker.brokers import Brokers

from kiqstart.tasks.results.errors import UnreadableResultError
from kiqstart.tasks.sent_task import SentTask

_MODULES: Final = st.sampled_from(
    ["builtins", "os", "subprocess", "asyncio.exceptions", "pydantic_core", "redis.exceptions", BAIT, TRAP]
)
_CLASSES: Final = st.sampled_from(
    [
        *(
            "ValueError",
            "SystemExit",
            "KeyboardInterrupt",
            "GeneratorExit",
            "CancelledError",
            "StopIteration",
            "BaseException",
        ),
        *(
            "ExceptionGroup",
            "BaseExceptionGroup",
            "UnicodeDecodeError",
            "OSError",
            "KeyError",
            "AssertionError",
            "MemoryError",
        ),
        *(
            "TrapError",
            "Trap",
            "spring",
            "system",
            "Popen",
            "exec",
            "eval",
            "type",
            "object",
            "__import__",
            "ValidationError",
        ),
        *("dict.__class__", "ValueError.__init__", "__builtins__", "a.b.c"),
    ]
)


def _errors_with(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return changed(
        {
            "exc_type": "ValueError",
            "exc_module": "builtins",
            "exc_message": ["no"],
            "exc_cause": None,
            "exc_context": None,
        },
        {
            "exc_type": _CLASSES | ANY_TEXTS | LEAVES,
            "exc_module": _MODULES | ANY_TEXTS | LEAVES,
            "exc_message": st.lists(JSON, max_size=3) | JSON,
            "exc_cause": inner,
            "exc_context": inner,
            "exc_suppress_context": LEAVES,
            "text": ANY_TEXTS | LEAVES,
            "base": _CLASSES | LEAVES,
            "members": st.lists(inner, max_size=2) | JSON,
            "format": NUMBERS,
            "notes": JSON,
        },
    )


_ERRORS: Final = st.recursive(JSON, _errors_with, max_leaves=4)
_RESULTS: Final = changed(
    {"is_err": False, "log": None, "return_value": 1, "execution_time": 0.1, "labels": {}, "error": None},
    {
        "is_err": LEAVES,
        "log": LEAVES,
        "return_value": JSON,
        "execution_time": NUMBERS | LEAVES,
        "labels": JSON,
        "error": _errors_with(_ERRORS) | _errors_with(_ERRORS) | JSON,
    },
).map(as_json)
VALUES: Final = _RESULTS | _RESULTS | damaged(_RESULTS) | BYTES | st.just(DEEP)
"""What a stranger stores as a result."""
_PROGRESS: Final = changed({"state": "STARTED", "meta": None}, {"state": LEAVES, "meta": JSON}).map(as_json) | BYTES


async def check_read(task: SentTask[Any]) -> None:
    """Read a result in each way; what is raised is for an `except Exception`, and can be printed."""
    for read in (task.get_result, lambda: task.wait_result(timeout=HANG), lambda: task.result(HANG), task.is_ready):
        try:
            await read()
        except ResultGetError:
            continue
        except Exception as error:  # noqa: BLE001  # the task's
            written = "".join(traceback.format_exception(error))
            assert len(written) < 3_000_000, len(written)
    with suppress(UnreadableResultError):
        await task.get_progress()


async def _read(ground: Ground, values: list[tuple[bytes, bytes]]) -> None:
    brokers = Brokers(ground.redis_url, f"{{{ground.new_prefix()}}}:tasks")
    broker = brokers()
    await broker.startup()
    backend = broker.result_backend
    async with Redis.from_url(ground.redis_url) as redis:
        for number, (value, progress) in enumerate(values):
            await redis.set(broker.keys.result(f"{number}"), value)
            await redis.set(broker.keys.progress(f"{number}"), progress)
        for number in range(len(values)):
            await check_read(SentTask(f"{number}", backend))
            await check_read(SentTask(f"{number}", backend, int))
        await redis.delete(*await redis.keys(f"{broker.keys.name}*"))
    await brokers.close()


def _try_out(ground: Ground, values: list[tuple[bytes, bytes]]) -> None:
    with judged_log():
        asyncio.run(_read(ground, values))


SURFACE: Final = Surface(
    name="results",
    inputs=st.lists(st.tuples(VALUES, _PROGRESS), min_size=1, max_size=20),
    try_out=_try_out,
    size=len,
    examples=15,
)
