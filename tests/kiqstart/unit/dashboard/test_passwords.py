import pytest

from kiqstart.dashboard.passwords import LONGEST, InvalidHashError, PasswordHash, hash_password

HASH = hash_password("correct horse")
SALT, DIGEST = HASH.split(":")[4:]


def test_a_hash_fits_its_password_only() -> None:
    found = PasswordHash.parse(HASH)
    assert found.fits("correct horse")
    for other in ("", "correct horse ", "Correct horse", "x" * (LONGEST + 1), "\ud800"):
        assert not found.fits(other)


def test_two_hashes_of_a_password_have_nothing_in_common() -> None:
    other = hash_password("correct horse")
    assert not set(other.split(":")[4:]) & set(HASH.split(":")[4:])


def test_a_hash_is_left_alone_by_shells_and_compose_files() -> None:
    assert HASH.replace(":", "").replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    "form",
    [
        "",
        "correct horse",
        "scrypt:16384:8:1:{salt}:{digest}x",
        "scrypt:16384:8:1:{salt}:{digest}\n",
        "bcrypt:16384:8:1:{salt}:{digest}",
        "scrypt:16383:8:1:{salt}:{digest}",
        # Memory that a try would take.
        "scrypt:1048576:8:1:{salt}:{digest}",
        "scrypt:16384:8:99:{salt}:{digest}",
        "scrypt:16384:0:1:{salt}:{digest}",
    ],
)
def test_what_is_no_hash_is_refused(form: str) -> None:
    with pytest.raises(InvalidHashError, match="kiqstart dashboard hash-password"):
        PasswordHash.parse(form.format(salt=SALT, digest=DIGEST))
