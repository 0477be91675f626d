import pytest

from todo_service.demo.log_lines import Sent, read_line

SENT = "Sent task session.cleanup with id cleanup-sessions@2026-01-01T00:00:05Z, 1.5 s late"


@pytest.mark.parametrize("line", [SENT, f'{{"event": "{SENT}", "level": "info"}}'])
def test_what_the_scheduler_sends(line: str) -> None:
    sent = read_line(line)
    assert sent == Sent(task="session.cleanup", schedule="cleanup-sessions", time="2026-01-01T00:00:05Z")
    assert sent is not None
    assert sent.task_id == "cleanup-sessions@2026-01-01T00:00:05Z"


@pytest.mark.parametrize(
    "line", ["", "Listening started.", '{"event": "Task ping succeeded in 0.00 s (id 0123abc)"}', "[]", "{}", "1"]
)
def test_other_lines_are_left_out(line: str) -> None:
    assert read_line(line) is None
