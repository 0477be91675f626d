"""The signals that end a worker."""

import signal

import pytest

from kiqstart.processes.ending import Ending


async def test_a_signal_that_python_has_dropped_ends_a_worker_before_it_takes_anything() -> None:
    ending = Ending()
    with pytest.raises(SystemExit):
        # As in a destructor, where it is written to standard error and nothing else comes of it.
        ending._on_signal(signal.SIGTERM, None)
    with pytest.raises(SystemExit) as ended:
        ending.attach(lambda: None)
    assert ended.value.code == 128 + signal.SIGTERM
