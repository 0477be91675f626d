import pytest

from kiqstart.scheduler.clock import StoreClock


class Machine:
    """Two clocks of a machine, in seconds."""

    def __init__(self) -> None:
        self.steady = 100.0
        self.wall = 1_000_000.0
        self.clock = StoreClock(steady=lambda: self.steady, wall=lambda: self.wall)

    def look(self, store: float, took: float = 0.0) -> None:
        began = self.steady
        self.steady += took
        self.wall += took
        self.clock.observe(round(store * 1000), began)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_between_looks_the_stores_time_goes_on(machine: Machine) -> None:
    machine.look(1_000_000)
    machine.steady += 2
    assert machine.clock.seconds_until(1_000_003_500) == pytest.approx(1.5)
    assert machine.clock.seconds_until(1_000_001_000) == pytest.approx(-1)


def test_a_wrong_clock_of_this_machine_is_told_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        machine.look(1_000_010)
    assert [record.message for record in caplog.records] == [
        "This machine's clock is 10.0 s behind that of Redis, which is the one that counts"
    ]
    machine.wall += 10
    machine.look(1_000_010)
    machine.wall += 5
    machine.look(1_000_010)
    assert caplog.records[-1].message.startswith("This machine's clock is 5.0 s ahead of that of Redis")


@pytest.mark.parametrize(("by", "message"), [(30, "forward by 30 s"), (-30, "back by 30 s")])
def test_a_store_whose_clock_is_set_is_told(
    machine: Machine, caplog: pytest.LogCaptureFixture, by: float, message: str
) -> None:
    machine.look(1_000_000)
    machine.wall += by
    machine.look(1_000_000 + by)
    assert [record.message for record in caplog.records] == [f"The clock of the store was set {message}"]


def test_a_slow_answer_is_no_wrong_clock(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.look(1_000_000)
    machine.look(1_000_000, took=600)
    machine.look(1_000_600)
    assert [record.message for record in caplog.records if "machine" in record.message] == []
