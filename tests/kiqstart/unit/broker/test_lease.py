import pytest
from tests.clock import Clock

from kiqstart.broker import lease as lease_module
from kiqstart.broker.lease import Lease, is_ward, watch_span


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease_module, "local_time", clock)
    return clock


@pytest.fixture
def lease(clock: Clock) -> Lease:
    lease = Lease(10.0)
    lease.begin()
    lease.registered("epoch", clock.now)
    return lease


def test_a_lease_is_trusted_for_less_than_others_watch_it_counted_from_when_its_renewal_began(
    lease: Lease, clock: Clock
) -> None:
    clock.now += 8
    assert lease.is_trusted
    # This renewal began three seconds ago.
    lease.renewed(clock.now - 3)
    clock.now += 5.0
    assert lease.is_trusted
    clock.now += 0.2
    assert not lease.is_trusted


def test_a_lease_that_has_lapsed_is_trusted_again_with_the_next_renewal(lease: Lease, clock: Clock) -> None:
    lease.lapse()
    assert lease.is_trusted is False
    lease.renewed(clock.now)
    assert lease.is_trusted


def test_a_new_name_is_not_trusted_before_it_is_registered(lease: Lease, clock: Clock) -> None:
    before = lease.worker
    assert lease.begin() != before
    assert lease.is_trusted is False
    lease.registered("other", clock.now)
    assert (lease.is_trusted, lease.epoch) == (True, "other")


def test_a_worker_is_watched_for_the_lease_that_its_name_says_and_others_for_that_of_whoever_looks() -> None:
    assert watch_span(Lease(2.5).begin(), default_lease=10.0) == pytest.approx(2.25)
    assert watch_span("kiq-0123456789abcdef", default_lease=10.0) == pytest.approx(9.0)


def test_a_worker_that_runs_suspects_only_is_known_by_its_name() -> None:
    assert is_ward(Lease(5.0, runs_suspects=True).begin())
    assert not is_ward(Lease(5.0).begin())
