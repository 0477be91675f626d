"""Messages as JSON that is sealed."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from taskiq import AsyncBroker, BrokerMessage, TaskiqMessage

from kiqstart.tasks.formatting import JsonFormatter, MessageTemplate, Outgoing, OutgoingJson, to_json
from kiqstart.tasks.sealing.errors import SealingError, UnreadableSecretError, UntrustedMessageError
from kiqstart.tasks.sealing.seal import unsealed
from kiqstart.tasks.sealing.sealing import SealingParts
from kiqstart.tasks.sizes import DEFAULT_BYTES

_NO_ARGUMENTS: Final = re.compile(rb'"args": ?\[\], ?"kwargs": ?\{\}\}\Z')
_Close = Callable[[bytes, int], bytes]


class SealedFormatter(JsonFormatter):
    """Seals what is sent, and reads nothing that is not sealed as it has to be.

    Args:
        broker: whose messages they are.
        sealing: the keys.
        limit: bytes of the largest message that is read.
    """

    def __init__(self, broker: AsyncBroker, sealing: SealingParts, *, limit: int = DEFAULT_BYTES) -> None:
        super().__init__(broker, limit=limit)
        self._seal, self._secrets = sealing.messages, sealing.secrets

    def outgoing(self, message: TaskiqMessage) -> BrokerMessage | OutgoingJson:
        """A message as its broker sends it, sealed.

        Raises:
            SealingError: the serializer makes no JSON.
            UnsendableLabelError, InvalidTaskIdError, ValueError, TypeError: as without a seal.
        """
        one = super().outgoing(message)
        one.message = self._closed(one.message, self._start_of_arguments(message))
        return one

    def template(self, first: TaskiqMessage) -> MessageTemplate | None:
        """What makes sealed messages like this one, or None where they do not go the short way."""
        made = super().template(first)
        return (
            None if made is None else SealedTemplate(first, self.dumps, self._closed, encrypts=self._secrets.encrypts)
        )

    def loads(self, message: bytes) -> TaskiqMessage:
        """A message that somebody has sealed who has the keys.

        Raises:
            UntrustedMessageError: nobody has, or its arguments cannot be decrypted.
            MessageTooLargeError: it is not read at all.
        """
        self.check_size(message)
        signed = self._seal.verified(message)
        try:
            return super().loads(self._secrets.show_arguments(signed))
        except UnreadableSecretError as error:
            raise UntrustedMessageError(f"its arguments cannot be read: {error}") from None

    def changed(self, message: bytes, change: Callable[[TaskiqMessage], TaskiqMessage]) -> bytes:
        """A message after a change, sealed if it was; as it was if it is not to be trusted, which a seal would hide."""
        if unsealed(message) is message:
            return super().outgoing(change(super().loads(message))).message
        try:
            return self.dumps(change(self.loads(message))).message
        except UntrustedMessageError:
            return message

    def _closed(self, data: bytes, start: int) -> bytes:
        return self._seal.sign(self._secrets.hide_arguments(data, start))

    def _start_of_arguments(self, message: TaskiqMessage) -> int:
        """Where the arguments begin, which come last: all before them is as long whatever they are."""
        if not self._secrets.encrypts:
            return 0
        without = super().outgoing(message.model_copy(update={"args": [], "kwargs": {}})).message
        found = _NO_ARGUMENTS.search(without)
        if found is None:
            raise SealingError("only JSON can be encrypted: leave the broker its JSON serializer")
        return found.start()


class SealedTemplate(MessageTemplate):
    """Makes the sealed messages of many calls of one task.

    Args:
        first: any of them.
        long_way: makes those, sealed, whose arguments do not go the short way.
        close: seals a message whose arguments begin at a place.
        encrypts: whether it has to know that place.
    """

    def __init__(
        self,
        first: TaskiqMessage,
        long_way: Callable[[TaskiqMessage], BrokerMessage],
        close: _Close,
        *,
        encrypts: bool,
    ) -> None:
        super().__init__(first, long_way)
        self._close = close
        self._encrypts = encrypts

    def message_of_scalars(
        self, task_id: str, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> OutgoingJson | None:
        """The message of a call of texts and whole numbers, sealed; None for other arguments."""
        one = super().message_of_scalars(task_id, args, kwargs)
        return None if one is None else self._sealed(one)

    def message(self, task_id: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Outgoing:
        """The message of one call, sealed."""
        one = super().message(task_id, args, kwargs)
        return self._sealed(one) if isinstance(one, OutgoingJson) else one

    def _sealed(self, one: OutgoingJson) -> OutgoingJson:
        start = len(self.same) + len(to_json({"task_id": one.task_id})) - 1 if self._encrypts else 0
        one.message = self._close(one.message, start)
        return one
