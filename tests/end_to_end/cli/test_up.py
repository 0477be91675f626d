import os
import signal

from tests.deadlines import HANG
from tests.end_to_end.cli.command_line import CommandLine, processes_of

from kiqstart.observability.redaction import redact_url


def test_it_runs_until_ctrl_c(kiqstart: CommandLine) -> None:
    with kiqstart.start("up") as process:
        process.wait_for_log("Listening started.")
        process.wait_for_log("Startup completed.")
        assert f"PostgreSQL  {redact_url(kiqstart.environment['DATABASE_URL'].replace('+asyncpg', ''))}" in process.log
        assert f"Redis       {redact_url(kiqstart.environment['REDIS_URL'])}" in process.log
        assert "worker    │ " in process.log
        assert "scheduler │ " in process.log
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 128 + signal.SIGINT
    assert "Traceback" not in process.log


def test_it_ends_during_its_start_and_takes_a_second_ctrl_c(kiqstart: CommandLine) -> None:
    with kiqstart.start("up") as process:
        process.wait_for_log("Ctrl-C ends all this.")
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 128 + signal.SIGINT


def test_it_ends_when_one_of_its_processes_does(kiqstart: CommandLine) -> None:
    with kiqstart.start("up") as process:
        process.wait_for_log("Listening started.")
        process.wait_for_log("Startup completed.")
        scheduler = next(pid for pid, args in processes_of(process).items() if "kiqstart scheduler" in args)
        os.kill(scheduler, signal.SIGKILL)
        assert process.wait() == 128 + signal.SIGKILL
        assert "The scheduler has ended with exit code 137" in process.log


def test_it_fails_with_a_worker_that_cannot_start(kiqstart: CommandLine) -> None:
    with kiqstart.start("up", environment={"TASKS_RESULT_TTL": "soon"}) as process:
        assert process.wait(HANG) != 0
        assert "kiqstart: settings: TASKS_RESULT_TTL" in process.log


def test_it_needs_a_redis(kiqstart: CommandLine) -> None:
    done = kiqstart.run("up", environment={"REDIS_URL": "memory://"})
    assert done.returncode == 1
    assert done.stderr.startswith("kiqstart: REDIS_URL=memory:// runs tasks in the program that sends them")
