import json
import time
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from kiqstart.observability import redaction
from kiqstart.observability.redaction import STAND_IN, Concealed, conceal, redact, redact_url, redacted
from kiqstart.redis.connections import RedisConnections
from todo_service.infrastructure.database.settings import DatabaseSettings

PLAIN = [
    'cannot reach PostgreSQL at db:5432/shop (DATABASE_URL): password authentication failed for user "me"',
    "DATABASE_URL has an '@' in its password: write it as %40",
    "redis://host:6379/0 and https://example.com/@someone?page=2",
    "user:pass is not a URL, and a token is none either; 3 tokens: a, b",
    'Key (user_id)=(7) is not present in table "users".',
    "redis://[::1]:6379/0, sentinel://host1:26379,host2:26379/service/0 and http://127.0.0.1:8080",
    "argument token: Input should be a valid string; the following arguments are required: --token, --password",
    "[SQL parameters hidden due to hide_parameters=True]",
    "write redis://[user:password@]host:port/0 or postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
]
SECRET = [
    ("at postgresql://me:s3cret@db/x", "at postgresql://me:***@db/x"),
    ("redis://:s3@cret@cache:6379/0", "redis://:***@cache:6379/0"),
    ("unix:///run/redis.sock?username=u&password=s3cret&db=1", "unix:///run/redis.sock?username=u&password=***&db=1"),
    ("dsn: host=db password = s3cret user=me", "dsn: host=db password = *** user=me"),
    ("{'user': 'me', 'password': 's3cret, yes'}", "{'user': 'me', 'password': '***'}"),
    (r'"{\"api_key\": \"s3cret\"}"', r'"{\"api_key\": \"***\"}"'),
    ("Config(db_password=SecretStr('s3cret'))", "Config(db_password=SecretStr('***'))"),
    ("Authorization: Bearer s3cret.s3cret", "Authorization: Bearer ***"),
    ("redis://a@b:s3cret@cache:6379/0", "redis://a@b:***@cache:6379/0"),
    ("postgresql://me:s3/cr?e#t@db/x", "postgresql://me:***@db/x"),
    ("'postgresql://me:s3cre", "'postgresql://me:***"),
    ("input_value='postgresql://me:s3...example.org/x'", "input_value='postgresql://me:***/x'"),
    ("url=//me:s3cret@db", "url=//me:***@db"),
    ('{"password": "s3\\"cret"}', '{"password": "***"}'),
    (r"{'password': 's3\'cret'}", "{'password': '***'}"),
    ("password='s3cret and what was cut", "password='***"),
    ('{"password": 123456}', '{"password": ***}'),
    ("X-Api-Key: s3cret", "X-Api-Key: ***"),
    ("AWS_SECRET_ACCESS_KEY=s3cret SECRET_KEY=s3cret", "AWS_SECRET_ACCESS_KEY=*** SECRET_KEY=***"),
    ("['psql', '--password', 's3cret', '-h']", "['psql', '--password', '***', '-h']"),
    ("[('api-token', 's3cret')]", "[('api-token', '***')]"),
    ("psql --password s3cret -h x", "psql --password *** -h x"),
    ("?access_token%3Ds3cret&x", "?access_token%3D***&x"),
    ("DETAIL:  Failing row contains (1, s3cret, 2026-01-01).", "DETAIL:  Failing row contains ***."),
    ("[SQL: SELECT 1]\n[parameters: ('s3cret', 1)]\n(Background", "[SQL: SELECT 1]\n[parameters: ***]\n(Background"),
    ("[parameters: [{'name': 's3cret'}, {'name': 'x'}]]", "[parameters: ***]"),
]
# What a password may be made of, also such as a URL has to quote.
PASSWORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=6, max_size=20)


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(("text", "shown"), SECRET)
def test_what_looks_like_a_secret_is_replaced(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.fixture(autouse=True)
def nothing_concealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_CONCEALED", Concealed())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(password=PASSWORDS)
def test_a_concealed_secret_is_found_in_any_notation(password: str) -> None:
    assume(password.strip(STAND_IN) and password not in repr(STAND_IN))
    redaction._CONCEALED = Concealed()  # type: ignore[misc]  # the fixture's is for all examples
    conceal(password)
    written = [password, quote(password, safe=""), repr({"x": password}), json.dumps([password]), f"<{password}>"]
    for text in written:
        assert password not in redact(text).replace(STAND_IN, "")
        assert quote(password, safe="") not in redact(text).replace(STAND_IN, "")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(password=st.text("abc@:/?#%&=' \"é", min_size=1, max_size=12))
def test_a_url_is_shown_without_its_passwords(password: str) -> None:
    planted = quote(f"zq{password}qz", safe="")
    for url in (f"redis://u:{planted}@host:6379/0", f"unix:///run/r.sock?username=u&password={planted}&db=0"):
        assert planted not in redact_url(url)
        assert "zq" not in redact_url(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s%40cret@host:5432/x", "postgresql://me@host:5432/x"),
        ("redis://:secret@host:6379/0", "redis://@host:6379/0"),
        ("postgresql+asyncpg://me@/x?host=%2Ftmp", "postgresql+asyncpg://me@/x?host=%2Ftmp"),
        ("unix:///tmp/redis.sock?db=0", "unix:///tmp/redis.sock?db=0"),
        (
            "unix:///tmp/redis.sock?username=me&password=it's&db=0",
            "unix:///tmp/redis.sock?username=me&password=***&db=0",
        ),
    ],
)
def test_all_else_in_a_url_stays(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_passwords_of_the_servers_are_known() -> None:
    DatabaseSettings(database_url=SecretStr("postgresql://me:pl%40nted-db@db/shop"))
    RedisConnections("sentinel://u:planted-redis@s1,s2/main/0?sentinel_password=planted-sentinel")
    RedisConnections("redis://cache", password="planted-argument")
    shown = redact("pl@nted-db pl%40nted-db planted-redis planted-sentinel planted-argument")
    assert shown == " ".join([STAND_IN] * 5)


def test_a_secret_may_have_bytes_that_are_not_utf_8() -> None:
    conceal("s3\udcffcret")
    assert redact("at s3\udcffcret") == "at ***"


def test_a_password_that_its_url_shows_as_well_hides_nothing() -> None:
    DatabaseSettings(database_url=SecretStr("postgresql://kiqstart:kiqstart@kiqstart/kiqstart"))
    assert redact("kiqstart: all is well") == "kiqstart: all is well"


def test_parts_of_a_log_line_are_redacted() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "Odd(password='s3cret')"

    line = {"event": "at redis://u:s3cret@h", "db_password": "s3cret", "list": [Odd(), 1, None], "map": {"token": 5}}
    assert redacted(line) == {
        "event": "at redis://u:***@h",
        "db_password": "***",
        "list": ["Odd(password='***')", 1, None],
        "map": {"token": "***"},
    }


@pytest.mark.parametrize(
    "part",
    [
        *("password=", "password='", "://a:b", "://:@", "'token': \\", "bearer ", " ", "\\", "=", "--", "--token "),
        *(
            "('token', '",
            "://a:x/",
            "token:",
            "//a",
            "-",
            "(token",
            "authorization:",
            "authorization: a ",
            "[parameters: (",
        ),
        *("Failing row contains (", "Failing row contains ()"),
    ],
)
def test_it_takes_linear_time(part: str) -> None:
    began = time.process_time()
    redact(part * (200_000 // len(part)))
    assert time.process_time() - began < 3
