import pytest
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004  # redis-py's own
    MasterDownError,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,  # noqa: A004  # redis-py's own
)

from kiqstart.broker.redis_retry import is_outage, may_pass, pause, reason


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Connection closed by server."),
        TimeoutError("Timeout reading from socket"),
        ConnectionRefusedError(111, "Connection refused"),
        BusyLoadingError("Redis is loading the dataset in memory"),
        ReadOnlyError("You can't write against a read only replica."),
        ClusterDownError("The cluster is down"),
        MasterDownError("Link with MASTER is down"),
        MaxConnectionsError("Too many connections"),
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        ResponseError("OOM command not allowed when used memory > 'maxmemory'. script: 1, on @user_script:31."),
        ResponseError("NOREPLICAS Not enough good replicas to write."),
        ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        ResponseError("BUSY Redis is busy running a script."),
        ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"),
    ],
    ids=lambda error: str(error)[:20],
)
def test_what_passes_by_itself_is_an_outage(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("invalid username-password pair or user is disabled."),
        NoPermissionError("this user has no permissions to run the 'evalsha' command"),
        ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        ResponseError("BUSYGROUP Consumer Group name already exists"),
        ValueError("something else"),
    ],
    ids=lambda error: str(error)[:20],
)
def test_what_does_not_pass_by_itself_is_none(error: Exception) -> None:
    assert not is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("invalid username-password pair or user is disabled."),
        NoPermissionError("this user has no permissions to run the 'evalsha' command"),
        ResponseError(
            "The user executing the script can't run this command or subcommand script: 1, on @user_script:1."
        ),
        ResponseError("NOPERM ACL failure in script: User app has no permissions to run the 'xadd' command"),
        ResponseError("ERR ACL failure in script: User app has no permissions to run the 'xadd' command"),
        ResponseError("Protocol error: unauthenticated multibulk length"),
        ConnectionError("Connection closed by server."),
    ],
    ids=lambda error: str(error)[:20],
)
def test_what_has_been_run_waits_for_rights_and_for_redis(error: Exception) -> None:
    assert may_pass(error)


def test_what_redis_refuses_for_good_is_not_waited_for() -> None:
    assert not may_pass(ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"))


def test_the_pause_between_two_tries_grows_to_a_second_and_not_beyond() -> None:
    for tries, longest in [(0, 0.05), (1, 0.1), (3, 0.4), (5, 1.0), (100_000, 1.0)]:
        assert all(longest / 2 <= pause(tries) <= longest for _ in range(20))
    assert len({pause(3) for _ in range(20)}) > 1


def test_a_reason_is_one_line() -> None:
    assert reason(ResponseError("one.\ntwo")) == "one"
    assert reason(OSError()) == "OSError"
    assert reason(ResponseError("Protocol error: unauthenticated bulk length")) == "Redis asks for a password"
