import pytest
from pydantic import ValidationError
from tests.todo_service.integration.core.engines import ExplicitSettings

from kiqstart.retention.settings import RetentionSettings


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
        ExplicitSettings.of(**{name: value})


def test_a_run_does_not_rest_for_so_long_that_it_is_taken_for_dead() -> None:
    with pytest.raises(ValidationError, match="RETENTION_PAUSE must be below RETENTION_TAKEOVER_AFTER"):
        ExplicitSettings.of(pause=20)
    assert ExplicitSettings.of(pause=20, takeover_after=21).pause == 20


def test_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETENTION_BATCH_SECONDS", "0.25")
    monkeypatch.setenv("RETENTION_ROWS_PER_SECOND", "5000")
    settings = RetentionSettings()
    assert (settings.batch_seconds, settings.rows_per_second) == (0.25, 5000)
    assert settings.statement_timeout == 0.5
    assert ExplicitSettings.of().batch_seconds == 0.1
