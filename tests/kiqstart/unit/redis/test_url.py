"""What a Redis URL may say, and what a wrong one is answered with."""

from pathlib import Path
from typing import Any

import pytest

from kiqstart.redis.connections import InvalidRedisOptionError, InvalidRedisUrlError, RedisConnections
from kiqstart.redis.url import Node, RedisUrl, parse_redis_url

ESCAPED = "p%40ss%2Fw%3Ard%23%3F%20%25"
PASSWORD = "p@ss/w:rd#? %"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", RedisUrl(kind="server", nodes=(Node("localhost", 6379),))),
        ("redis://h/3", RedisUrl(kind="server", nodes=(Node("h", 6379),), db=3)),
        ("redis://h:1/?db=3", RedisUrl(kind="server", nodes=(Node("h", 1),), db=3)),
        ("redis://[::1]:7000", RedisUrl(kind="server", nodes=(Node("::1", 7000),))),
        (f"rediss://u:{ESCAPED}@h", RedisUrl(kind="server", nodes=(Node("h", 6379),), tls=True, username="u")),
        ("unix:///run/my%20redis.sock?db=2", RedisUrl(kind="server", path="/run/my redis.sock", db=2)),
        (
            f"sentinel://u:{ESCAPED}@a,b:1/main/2?sentinel_username=s&sentinel_password={ESCAPED}",
            RedisUrl(
                kind="sentinel",
                nodes=(Node("a", 26379), Node("b", 1)),
                service="main",
                db=2,
                username="u",
                sentinel_username="s",
            ),
        ),
        ("sentinels://a/main", RedisUrl(kind="sentinel", nodes=(Node("a", 26379),), service="main", tls=True)),
        ("cluster://a:1,[::1]", RedisUrl(kind="cluster", nodes=(Node("a", 1), Node("::1", 6379)))),
        ("clusters://a:1/0", RedisUrl(kind="cluster", nodes=(Node("a", 1),), tls=True)),
    ],
)
def test_a_url_is_taken_apart(url: str, expected: RedisUrl) -> None:
    found = parse_redis_url(url)
    # repr leaves out what is checked on its own below.
    assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{ESCAPED}@h",
        f"rediss://u:{ESCAPED}@h:1/2",
        f"unix://:{ESCAPED}@/run/redis.sock",
        f"unix:///run/redis.sock?password={ESCAPED}",
        f"sentinel://:{ESCAPED}@a,b/main",
        f"clusters://u:{ESCAPED}@a,b",
    ],
)
def test_a_password_may_hold_any_character(url: str) -> None:
    assert parse_redis_url(url).password == PASSWORD


def test_sentinels_have_a_password_of_their_own() -> None:
    found = parse_redis_url(f"sentinel://:servers@a/main?sentinel_password={ESCAPED}")
    assert (found.password, found.sentinel_password) == ("servers", PASSWORD)


def test_tls_options_become_arguments_of_the_connections(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    url = f"rediss://h?ssl_ca_certs={authority}&ssl_cert_reqs=Optional&ssl_check_hostname=no&client_name=me"
    assert parse_redis_url(url).options == {
        "ssl_ca_certs": str(authority),
        "ssl_cert_reqs": "optional",
        "ssl_check_hostname": False,
        "client_name": "me",
    }


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://h", "is no URL of a Redis: write redis://"),
        ("", "is no URL of a Redis: write redis://"),
        ("redis://[::1", "is no URL of a Redis: write redis://"),
        ("redis://:hunter2/3@h", "has no host:port behind its '://'; in a password, write @ as %40"),
        ("redis://:hunter@2@h", "has a second '@'; in a password"),
        ("redis://:hunter#2@h", "has a '#'; in a password"),
        ("redis://:hunter?2=x@h", "has an option that is not known here; known are client_name, db"),
        ("redis://h:99999", "has no host:port"),
        ("redis://a,b", "names several hosts"),
        ("redis://h/main", "has no number of a database behind its last '/'"),
        ("redis://h?socket_timeout=1", "socket_timeout, which is not for you to set: timeouts and retries are"),
        ("redis://h?max_connections=7", "which is not for you to set: that is max_connection_pool_size; known are"),
        ("redis://h?protocol=4", "does not fit its option protocol: write 2 or 3"),
        ("redis://h?decode_responses=True", "its option decode_responses: kiqstart needs false"),
        ("redis://h?client_name=my%20app", "its option client_name: write printable ASCII"),
        ("redis://h?health_check_interval=often", "its option health_check_interval: write a number of seconds"),
        ("redis://h/" + "9" * 5000, "has no number of a database"),
        ("redis://h?db=-1", "has no number of a database"),
        ("redis://h?ssl_ca_certs=x", "has the option ssl_ca_certs, which is for TLS: write rediss://"),
        ("cluster://h?ssl_ca_certs=x", "has the option ssl_ca_certs, which is for TLS: write clusters://"),
        ("rediss://h?ssl_ca_certs=/no/such", "does not fit its option ssl_ca_certs: there is no file /no/such"),
        ("rediss://h?ssl_cert_reqs=maybe", "does not fit its option ssl_cert_reqs: write required or optional or none"),
        ("unix://run/redis.sock", "needs the socket's absolute path"),
        ("sentinel://a:26379", "names no service: write sentinel://"),
        ("sentinel:///main", "has no host:port"),
        ("cluster://a/1", "names a database: a cluster has number 0 only"),
    ],
)
def test_a_wrong_url_is_answered_with_what_to_write(url: str, complaint: str) -> None:
    with pytest.raises(InvalidRedisUrlError) as caught:
        RedisConnections(url)
    text = str(caught.value)
    assert complaint in text
    assert "hunter" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://u:hunter2@h:7/0", "h:7"),
        ("redis://[::1]", "[::1]:6379"),
        ("unix://:hunter2@/run/redis.sock", "/run/redis.sock"),
        ("sentinel://:hunter2@a,b:1/main/2?sentinel_password=hunter2", "sentinel://a:26379,b:1/main"),
        ("clusters://:hunter2@a,b", "clusters://a:6379,b:6379"),
    ],
)
def test_an_address_names_the_place_and_no_password(url: str, address: str) -> None:
    assert RedisConnections(url).address == address
    assert "hunter2" not in repr(RedisConnections(url)) + repr(parse_redis_url(url))


@pytest.mark.parametrize(
    ("url", "options", "complaint"),
    [
        ("redis://h", {"protocol": "RESP3"}, "protocol: write 2 or 3"),
        ("redis://h", {"decode_responses": True}, "decode_responses: kiqstart needs false"),
        ("redis://h", {"db": 3}, "take no argument db: the number of the database stands in the URL"),
        (
            "redis://h",
            {"socket_timeout": 1},
            "no argument socket_timeout: timeouts and retries are kiqstart's own",
        ),
        ("redis://h", {"lib_name": "x"}, "take no argument lib_name: it is none of client_name, "),
        ("redis://h", {"ssl_ca_certs": "x"}, "the argument ssl_ca_certs is for TLS: write rediss:// in the URL"),
        ("rediss://h", {"ssl_ca_certs": "/no/such"}, "ssl_ca_certs: there is no file /no/such"),
        ("redis://h", {"client_name": "my app"}, "client_name: write printable ASCII"),
        ("redis://h", {"health_check_interval": True}, "health_check_interval: write a number"),
        ("redis://:hunter2@h", {"credential_provider": object()}, "and a user or password in the URL: choose one"),
    ],
)
def test_a_wrong_argument_is_answered_in_one_line(url: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidRedisOptionError) as caught:
        RedisConnections(url, **options)
    text = str(caught.value)
    assert complaint in text
    assert "hunter" not in text
    assert "\n" not in text


def test_a_user_before_the_host_goes_before_one_among_the_options() -> None:
    found = parse_redis_url("redis://me:mine@h?username=other&password=others")
    assert (found.username, found.password) == ("me", "mine")
