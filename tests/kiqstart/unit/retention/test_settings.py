import pytest
from pydantic import ValidationError

from kiqstart.retention.settings import RetentionSettings
from todo_service.infrastructure.database.settings import RetentionEnvironment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_seconds", 0),
        ("batch_seconds", 11),
        ("batch_rows", 0),
        ("batch_rows", 10_000_001),
        ("pause", -1),
        ("pause", 61),
        ("rows_per_second", 0),
        ("lock_timeout", 0),
        ("lock_timeout", 11),
        ("locked_wait", -1),
        ("reconnect_wait", -1),
        ("takeover_after", 0.5),
        ("max_replica_lag", 0),
        ("max_lock_waiters", 0),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        RetentionSettings.model_validate({name: value})


def test_a_run_does_not_rest_for_so_long_that_it_is_taken_for_dead() -> None:
    with pytest.raises(ValidationError, match="must be above the pause"):
        RetentionSettings(pause=20)
    assert RetentionSettings(pause=20, takeover_after=21).pause == 20


def test_the_environment_of_the_service_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETENTION_BATCH_SECONDS", "0.25")
    monkeypatch.setenv("RETENTION_ROWS_PER_SECOND", "5000")
    settings = RetentionEnvironment()
    assert (settings.batch_seconds, settings.rows_per_second) == (0.25, 5000)
    assert settings.statement_timeout == 0.5


def test_plain_settings_know_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETENTION_BATCH_SECONDS", "0.25")
    assert RetentionSettings().batch_seconds == 0.1
