"""What is wrong with a sealed text."""

from kiqstart.errors import OperatorError


class UntrustedMessageError(Exception):
    """A message was not sealed by anybody who has the keys, or cannot be read without one."""


class UnreadableSecretError(ValueError):
    """An encrypted text cannot be read: another key is needed, or it was changed."""


class SealingError(OperatorError):
    """Keys cannot be used."""
