import pytest

from todo_service.demo.log_lines import Sent, Started, read_line

SENT = "Sent task session.cleanup with id cleanup-sessions@2026-01-01T00:00:05Z, 1.5 s late"


@pytest.mark.parametrize("line", [SENT, f'{{"event": "{SENT}", "level": "info"}}'])
def test_what_the_scheduler_sends(line: str) -> None:
    assert read_line(line) == Sent(task="session.cleanup", schedule="cleanup-sessions", time="2026-01-01T00:00:05Z")


def test_what_the_worker_begins() -> None:
    line = '{"event": "Executing task ping with ID: 0123abc"}'
    assert read_line(line) == Started(task="ping", task_id="0123abc")


@pytest.mark.parametrize(
    "line", ["", "Listening started.", '{"event": "Task ping succeeded in 0.00 s"}', "[]", "{}", "1"]
)
def test_other_lines_are_left_out(line: str) -> None:
    assert read_line(line) is None
