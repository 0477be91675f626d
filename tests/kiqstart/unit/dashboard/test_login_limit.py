from tests.clock import Clock

from kiqstart.dashboard.login_limit import SECONDS, TRIES, LoginLimit


def fail(limit: LoginLimit, address: str, times: int = TRIES) -> None:
    for _ in range(times):
        limit.failed(address)


def test_some_wrong_passwords_are_forgiven_and_more_have_to_wait() -> None:
    clock = Clock()
    limit = LoginLimit(now=clock)
    fail(limit, "10.0.0.1", TRIES - 1)
    assert limit.seconds_to_wait("10.0.0.1") == 0
    clock.now += 10
    limit.failed("10.0.0.1")
    assert limit.seconds_to_wait("10.0.0.1") == SECONDS - 10
    clock.now += SECONDS - 10
    assert limit.seconds_to_wait("10.0.0.1") == 0


def test_addresses_wait_for_themselves() -> None:
    limit = LoginLimit(now=Clock())
    fail(limit, "10.0.0.1")
    fail(limit, "not an address")
    assert limit.seconds_to_wait("10.0.0.2") == 0
    assert limit.seconds_to_wait("not an address") == SECONDS


def test_a_network_of_ipv6_is_one_address() -> None:
    limit = LoginLimit(now=Clock())
    fail(limit, "2001:db8::1")
    assert limit.seconds_to_wait("2001:db8::ffff") == SECONDS
    assert limit.seconds_to_wait("2001:db8:1::1") == 0


def test_addresses_of_ipv4_in_those_of_ipv6_wait_for_themselves() -> None:
    limit = LoginLimit(now=Clock())
    fail(limit, "::ffff:10.0.0.1")
    assert limit.seconds_to_wait("10.0.0.1") == SECONDS
    assert limit.seconds_to_wait("::ffff:10.0.0.2") == 0


def test_memory_is_bounded() -> None:
    limit = LoginLimit(now=Clock())
    fail(limit, "10.0.0.1")
    for number in range(10_000):
        limit.failed(f"host-{number}")
    assert limit.seconds_to_wait("10.0.0.1") == 0
