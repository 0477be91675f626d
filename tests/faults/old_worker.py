"""A real worker process of the version before, which runs jobs one by one: `python -m tests.faults.old_worker`."""

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final, cast

import redis
from taskiq import TaskiqResult
from tests.faults.brokers import WEIGHTS, options_of
from tests.faults.jobs import Answer, JobError, Orders, text_of
from tests.faults.recorder import Mark, Recorder
from tests.faults.settings import WorkerSettings
from tests.faults.standstill import watch_for_standstills
from tests.simulation.version_n.worker import Claim, OldWorker

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.results import encode_failure, encode_result
from kiqstart.clock import local_time

_JOB: Final = "job"


class _Host:
    """This machine."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = str(os.getpid())

    def now(self) -> str:
        return str(int(time.time() * 1000))

    def local_time(self) -> float:
        return local_time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def client(self, timeout: float) -> redis.Redis:
        return redis.Redis.from_url(self._url, socket_timeout=timeout)

    def start_thread(self, target: Callable[[], object]) -> None:
        threading.Thread(target=target).start()


class _Program:
    """Knows jobs, and nothing else; it does not try again what has failed."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._runs = 0

    def __call__(self, data: bytes, claim: Claim) -> bytes | None:
        message: dict[str, Any] = json.loads(data)
        if message["task_name"] != _JOB:
            raise ValueError(f"the version before is sent jobs only, and got {message['task_name']}")
        if not claim.may_begin():
            return None
        name, orders = message["args"]
        return self._run(str(name), cast("Orders", orders), int(message["labels"].get("retries", 0)), claim)

    def _run(self, name: str, orders: Orders, tried: int, claim: Claim) -> bytes | None:
        self._runs += 1
        token = f"{os.getpid()}.{self._runs}"
        self._recorder.write(Mark.START, name, run=token, tried=tried)
        time.sleep(orders["seconds"])
        if not claim.is_held():
            # Another worker has it by now.
            self._recorder.write(Mark.CUT, name, run=token, tried=tried)
            return None
        is_whole = orders["text"] == text_of(name, len(orders["text"]))
        fails = tried < orders["failures"]
        how = "garbled" if not is_whole else "error" if fails else "ok"
        self._recorder.write(Mark.END, name, run=token, tried=tried, how=how, again=False)
        if fails:
            return encode_failure(JobError(token))
        answer = Answer(run=token, text=text_of(name, orders["answers"]))
        result: TaskiqResult[Answer] = TaskiqResult(is_err=False, return_value=answer, execution_time=0.0)
        return encode_result(name, result)


def _main() -> None:
    settings = WorkerSettings.model_validate({})
    recorder = Recorder(settings.records)
    OldWorker(
        _Host(settings.redis_url),
        _Program(recorder),
        QueueKeys(settings.queue),
        weights=WEIGHTS,
        options=options_of(settings),
        on_lease=lambda _: None,
    )
    recorder.write(Mark.READY, str(os.getpid()), version="before")
    watch_for_standstills(recorder)


_main()
