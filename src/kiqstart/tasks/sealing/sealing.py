"""Which keys an application signs and encrypts with."""

from dataclasses import dataclass

from kiqstart.tasks.sealing.cipher import Cipher
from kiqstart.tasks.sealing.errors import SealingError
from kiqstart.tasks.sealing.keyring import Keyring
from kiqstart.tasks.sealing.seal import Seal
from kiqstart.tasks.sealing.secrets import Secrets


@dataclass(frozen=True, kw_only=True, repr=False)
class Sealing:
    """Keys with which messages and added schedules are signed, and arguments, results and errors' texts encrypted.

    Args:
        signing_keys: `id:key`, several with commas between, each key 32 random bytes as base64. The first one signs,
            all verify.
        encryption_keys: the same; the first one encrypts, all decrypt. '' encrypts nothing. Needs the package
            `cryptography`: install `kiqstart[encryption]`.
        is_required: whether a message or schedule without a signature is refused.
        encrypts: whether what is new is encrypted; False only reads what others have encrypted.

    Raises:
        SealingError: something else stands there, or `cryptography` is missing.
    """

    signing_keys: str
    encryption_keys: str = ""
    is_required: bool = True
    encrypts: bool = True

    def __post_init__(self) -> None:
        """Check the keys."""
        SealingParts(self, "")


class SealingParts:
    """What does it for one queue.

    Args:
        sealing: the keys.
        scope: the queue's key: nothing that was made for it is accepted in another.

    Raises:
        SealingError: the keys cannot be used.
    """

    def __init__(self, sealing: Sealing, scope: str) -> None:
        keys = _keyring("signing_keys", sealing.signing_keys)
        self.messages = Seal(keys, scope=f"messages {scope}", is_required=sealing.is_required)
        self.schedules = Seal(keys, scope=f"schedules {scope}", is_required=sealing.is_required)
        cipher = None
        if sealing.encryption_keys:
            cipher = Cipher(_keyring("encryption_keys", sealing.encryption_keys), scope=scope)
        self.secrets = Secrets(cipher, encrypts=sealing.encrypts)


def _keyring(name: str, text: str) -> Keyring:
    try:
        return Keyring(text)
    except ValueError as error:
        raise SealingError(f"Sealing: {name} {error}") from None
