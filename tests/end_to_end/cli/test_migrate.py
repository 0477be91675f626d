import pytest
from tests.end_to_end.cli.command_line import CommandLine
from tests.end_to_end.cli.in_process import Kiqstart


def test_down_and_up_again(kiqstart: CommandLine, kiqstart_on_database: Kiqstart) -> None:
    try:
        assert kiqstart.run("migrate", "--down", "base").stdout == "The schema has gone down to base.\n"
        assert kiqstart_on_database("check").code == 1
    finally:
        assert kiqstart_on_database("migrate").out == "The schema is up to date.\n"
    assert kiqstart_on_database("check").code == 0


@pytest.mark.parametrize("revision", ["nowhere", "", "1-1", "@", "+99", "-99", "head\n\x1b[2J"])
def test_an_unknown_revision_is_one_line(kiqstart_on_database: Kiqstart, revision: str) -> None:
    done = kiqstart_on_database("migrate", "--to", revision)
    assert done.code == 1
    assert done.err.startswith("kiqstart: migrations: ")
    assert done.err.count("\n") == 1


def test_a_migration_without_changes_is_not_written(kiqstart: CommandLine) -> None:
    done = kiqstart.run("migration", "nothing new")
    assert done.returncode == 1
    assert done.stderr == "kiqstart: models and database agree: there is nothing to migrate\n"
