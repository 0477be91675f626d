import pytest
from pydantic import ValidationError

from kiqstart.broker.options import StreamOptions
from kiqstart.broker.settings import TasksSettings, parse_queues


@pytest.mark.parametrize(
    ("text", "queues"),
    [
        ("default", {"default": 1}),
        ("default:3,low", {"default": 3, "low": 1}),
        (" mail-out.v2:2 ", {"mail-out.v2": 2}),
        ("default:3, low:1", {"default": 3, "low": 1}),
    ],
)
def test_queues_are_read_with_their_weights(text: str, queues: dict[str, int]) -> None:
    assert parse_queues(text) == queues
    assert TasksSettings(queues=text).weights == queues


@pytest.mark.parametrize("text", ["", "default:0", "default:-1", "default:x", "low,,default", "low,low:2", "{low}"])
def test_queues_that_cannot_be_read_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^'[^\n]*' is no queue, or stands twice: write default:3,low:1$"):
        parse_queues(text)
    with pytest.raises(ValidationError, match="write default:3,low:1"):
        TasksSettings(queues=text)


@pytest.mark.parametrize(
    "settings",
    [
        {"result_ttl": 0},
        {"lease": 0.5},
        {"lease": float("inf")},
        {"max_deliveries": 0},
        {"send_deadline": 0},
        {"send_deadline": float("nan")},
        {"dead_letter_age": -1},
        {"dead_letter_limit": 0},
        {"overrun_grace": 0},
        {"key_prefix": "with space"},
        {"key_prefix": "p" * 201},
        {"queues": "q" * 201},
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_its_name(settings: dict[str, float]) -> None:
    name = next(iter(settings))
    with pytest.raises(ValidationError, match=name):
        TasksSettings.model_validate(settings)


def test_the_broker_delivers_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {
        "lease": "2.5",
        "max_deliveries": "7",
        "quarantine": "false",
        "send_deadline": "3",
        "dead_letter_age": "60",
        "dead_letter_limit": "5",
        "hook_timeout": "7",
        "overrun_grace": "1",
        "replace_overrun": "true",
    }
    for name, value in wanted.items():
        monkeypatch.setenv(f"TASKS_{name.upper()}", value)
    assert TasksSettings().stream_options == StreamOptions(
        lease=2.5,
        max_deliveries=7,
        quarantine=False,
        send_deadline=3,
        dead_letter_age=60,
        dead_letter_limit=5,
        hook_timeout=7,
        overrun_grace=1,
        replace_overrun=True,
    )
