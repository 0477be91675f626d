"""Secrets in an error, wherever it has them: neither its result nor its dead letter does."""

import traceback
from collections.abc import Iterator

import pytest
from tests.planted_secrets import check_output

from kiqstart.broker.letter_text import kept_detail
from kiqstart.broker.results import encode_failure
from kiqstart.observability import redaction
from kiqstart.observability.redaction import Concealed, conceal

KNOWN = 'planted, and "known" / ä'
UNKNOWN = "planted1"
URL = f"postgresql://shop@example.org:{UNKNOWN}@db/shop"
PAIRS = {"password": UNKNOWN, "api-key": UNKNOWN, "nested": [{"Authorization": f"Token {UNKNOWN}"}], "token": 5}


@pytest.fixture(autouse=True)
def known_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_CONCEALED", Concealed())
    conceal(KNOWN)


class RefusedError(Exception):
    def __init__(self, text: str, *, token: object) -> None:
        super().__init__(text)
        self.token = token
        self.text = text


def with_note(error: BaseException, note: str) -> BaseException:
    error.add_note(note)
    return error


def caused(cause: BaseException, *, context: bool = False) -> BaseException:
    error = RuntimeError("no")
    if context:
        error.__context__ = cause
    else:
        error.__cause__ = cause
    return error


def errors() -> Iterator[BaseException]:
    """Errors that have secrets where errors have something."""
    for secret in (KNOWN, URL, f"password={UNKNOWN}"):
        yield ValueError(secret)
        yield ValueError(5, secret, secret.encode(), [secret], {"x": (secret,)}, {secret: 1})
        yield KeyError(secret)
        yield OSError(2, secret, secret)
        yield UnicodeDecodeError("utf-8", secret.encode(), 0, 1, secret)
        yield RefusedError(secret, token=secret)
        yield with_note(ValueError("no"), secret)
        yield caused(ValueError(secret))
        yield caused(with_note(ValueError("no"), secret), context=True)
        yield ExceptionGroup(secret, [ValueError(secret), ExceptionGroup("in", [KeyError(secret)])])
        # As far as a text is kept, and beyond.
        for length in (8185, 8190, 16_380, 32_760, 16_384 * 2 + 10):
            yield ValueError("x" * length + " " + secret)
            yield ValueError(secret + " " + "x" * length)
        yield ValueError(f"{secret} " * 4000)
    yield ValueError(PAIRS)
    yield ValueError("headers", [("X-Api-Key", UNKNOWN)])
    yield RefusedError("refused", token=len(UNKNOWN))


@pytest.mark.parametrize("error", [*errors()], ids=lambda error: f"{error!r:.40}")
def test_it_is_not_stored(error: BaseException) -> None:
    check_output(encode_failure(error).decode())
    check_output(kept_detail("".join(traceback.format_exception(error))).decode())


def test_a_number_of_a_secrets_name_is_not_stored() -> None:
    assert b"271828" not in encode_failure(RefusedError("no", token=271828))
