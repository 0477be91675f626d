import pytest

from kiqstart.infrastructure.taskiq.errors import WiringError
from kiqstart.infrastructure.taskiq.streams.broker import StreamBroker


def test_an_argument_that_only_taskiq_redis_has_is_refused_in_one_line() -> None:
    with pytest.raises(WiringError, match=r"^StreamBroker has no argument 'maxlen': see StreamOptions"):
        StreamBroker("redis://localhost", maxlen=1000)
