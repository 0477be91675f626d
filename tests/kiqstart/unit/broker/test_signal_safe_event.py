import signal
import threading
from collections.abc import Iterator

import pytest

from kiqstart.processes.signal_safe_event import SignalSafeEvent


@pytest.fixture
def event() -> SignalSafeEvent:
    return SignalSafeEvent()


@pytest.fixture
def interrupted(event: SignalSafeEvent) -> Iterator[list[int]]:
    signals: list[int] = []

    def handle(number: int, _: object) -> None:
        event.set()
        signals.append(number)

    before = signal.signal(signal.SIGVTALRM, handle)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0005, 0.0005)
    yield signals
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


@pytest.mark.timeout(200)
def test_a_signal_that_interrupts_it_may_set_it_too(event: SignalSafeEvent, interrupted: list[int]) -> None:
    while len(interrupted) < 50:
        event.set()


def test_it_wakes_a_thread_and_each_wait_takes_what_was_set_before(event: SignalSafeEvent) -> None:
    event.set()
    event.set()
    event.wait(60)
    waiting = threading.Thread(target=event.wait, args=(60,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    event.set()
    waiting.join(10)
    assert not waiting.is_alive()
