from dataclasses import replace

import pytest
from pydantic import SecretStr
from tests.clock import Clock

from kiqstart.dashboard.passwords import hash_password
from kiqstart.dashboard.sessions import DashboardRole, Sessions
from kiqstart.dashboard.settings import DashboardSettings

HASH, OTHER = hash_password("correct horse"), hash_password("battery staple")
SECRET = SecretStr("s" * 32)


def sessions(*, clock: Clock | None = None, **changes: object) -> Sessions:
    values = {"password_hash": HASH, "secret": SECRET, "session_hours": 1.0, **changes}
    return Sessions(DashboardSettings.model_validate(values), now=clock or Clock())


def test_a_session_is_read_as_it_was_signed() -> None:
    made = sessions()
    session = replace(made.begin("ada\n\ud800é", DashboardRole.ACT), said="<b>")
    assert made.read(made.sign(session)) == session


def test_a_session_ends() -> None:
    clock = Clock()
    made = sessions(clock=clock)
    cookie = made.sign(made.begin("ada", DashboardRole.ACT))
    clock.now += 3599
    assert made.read(cookie) is not None
    clock.now += 1
    assert made.read(cookie) is None


def test_what_was_not_signed_here_is_no_session() -> None:
    made = sessions()
    viewer, operator = (made.sign(made.begin("ada", role)) for role in DashboardRole)
    payload, digest = operator.split(".")
    for cookie in (
        "",
        ".",
        payload,
        f"{payload}.",
        f"{payload}.{digest[:-1]}",
        f"{payload}.{digest}\xe9",
        f"{payload}.{viewer.split('.')[1]}",
        f"{viewer.split('.')[0]}.{digest}",
        f"{payload}={'.'}{digest}",
        "x" * 100_000,
        # A form's token is signed too, and is none.
        f"{payload}.{made.token(made.begin('ada', DashboardRole.ACT))}",
    ):
        assert made.read(cookie) is None


@pytest.mark.parametrize("changes", [{"secret": SecretStr("t" * 32)}, {"secret": None}, {"password_hash": OTHER}])
def test_a_new_secret_or_password_ends_all_sessions(changes: dict[str, object]) -> None:
    cookie = sessions().sign(sessions().begin("ada", DashboardRole.ACT))
    assert sessions().read(cookie) is not None
    changed = DashboardSettings.model_validate({"password_hash": HASH, "secret": SECRET, **changes})
    assert Sessions(changed, now=Clock()).read(cookie) is None


def test_a_token_is_that_of_one_session() -> None:
    made = sessions()
    one, other = made.begin("ada", DashboardRole.ACT), made.begin("ada", DashboardRole.ACT)
    assert made.has_token(one, made.token(one))
    assert not made.has_token(one, made.token(other))
    assert not made.has_token(one, "")
    assert not made.has_token(one, "\xe9")
