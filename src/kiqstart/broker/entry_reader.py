"""Makes deliveries of the entries that Redis hands out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast

from kiqstart.broker.delivery import Delivery
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_text import shown_fields, whole_number
from kiqstart.tasks.sizes import SMALL, weight_of

_TEXT_FIELDS: Final = frozenset({"deliveries", "first", "worker", "unique", "task", "left", "tried"})
# A message that nobody had before has but one field: its name and its value.
_PLAIN: Final = 2
_NO_FIELDS: Final[Mapping[str, str]] = MappingProxyType({})

# Its id and fields as Redis gives them, or as redis-py makes of them.
RawEntry = tuple[bytes, Sequence[bytes] | Mapping[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """For which worker a read began."""

    worker: str
    epoch: str


class EntryReader:
    """Knows the streams of a worker's queues.

    Args:
        queues: those that it takes.
    """

    def __init__(self, keys: QueueKeys, queues: Iterable[str]) -> None:
        names = list(queues)
        self.queue_of = {stream: queue for queue in names for stream in keys.streams(queue)}
        self.suspects = {stream for queue in names for stream in keys.quarantine(queue)}

    def deliveries(self, answer: object, taken: Taken) -> list[Delivery]:
        """Those of an answer to XREADGROUP."""
        # A map where RESP3 is spoken.
        found: object = cast("dict[object, object]", answer).items() if isinstance(answer, dict) else answer or ()
        return [
            self.delivery(stream.decode(), entry, taken)
            for stream, entries in cast("Iterable[tuple[bytes, Sequence[RawEntry] | Sequence[list[RawEntry]]]]", found)
            for entry in _unwrapped(entries)
        ]

    def delivery(self, stream: str, raw: RawEntry, taken: Taken) -> Delivery:
        """That of an entry."""
        entry, found = raw[0].decode(), raw[1]
        deliveries = 0
        if isinstance(found, list) and len(found) == _PLAIN and found[0] == b"data":
            data, fields, is_well_formed = found[1], _NO_FIELDS, True
        else:
            data, fields, is_well_formed = _parse(found)
            deliveries = whole_number(fields.get("deliveries"), 0)
        return Delivery(
            queue=self.queue_of[stream],
            stream=stream,
            entry=entry,
            data=data,
            weight=len(data) if len(data) < SMALL else weight_of(data),
            fields=fields,
            deliveries=deliveries,
            worker=taken.worker,
            epoch=taken.epoch,
            is_suspect=stream in self.suspects,
            is_well_formed=is_well_formed,
        )


def _unwrapped(entries: Sequence[RawEntry] | Sequence[list[RawEntry]]) -> Sequence[RawEntry]:
    """Entries as they are; redis-py puts them into one more list where RESP3 is spoken."""
    is_wrapped = len(entries) == 1 and not isinstance(entries[0][0], bytes)
    return cast("Sequence[RawEntry]", entries[0] if is_wrapped else entries)


def _parse(found: Sequence[bytes] | Mapping[bytes, bytes]) -> tuple[bytes, Mapping[str, str], bool]:
    """An entry's data, what else we know of it, and whether it is ours at all."""
    raw = found if isinstance(found, Mapping) else dict(zip(found[::2], found[1::2], strict=True))
    texts = {name.decode(errors="replace"): value for name, value in raw.items()}
    fields = {name: value.decode(errors="replace") for name, value in texts.items() if name in _TEXT_FIELDS}
    return texts["data"] if "data" in texts else shown_fields(raw), fields, "data" in texts
