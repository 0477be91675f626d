from tests.end_to_end.cli.command_line import CommandLine


def test_down_and_up_again(kiqstart: CommandLine) -> None:
    try:
        assert kiqstart.run("migrate", "--down", "base").stdout == "The schema has gone down to base.\n"
        assert kiqstart.run("check").returncode == 1
    finally:
        assert kiqstart.run("migrate").stdout == "The schema is up to date.\n"
    assert kiqstart.run("check").returncode == 0


def test_an_unknown_revision_is_one_line(kiqstart: CommandLine) -> None:
    done = kiqstart.run("migrate", "--to", "nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith("kiqstart: migrations: ")
    assert done.stderr.count("\n") == 1


def test_a_migration_without_changes_is_not_written(kiqstart: CommandLine) -> None:
    done = kiqstart.run("migration", "nothing new")
    assert done.returncode == 1
    assert done.stderr == "kiqstart: models and database agree: there is nothing to migrate\n"
