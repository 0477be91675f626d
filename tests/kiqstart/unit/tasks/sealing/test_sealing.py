import base64
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from taskiq import InMemoryBroker, TaskiqMessage
from taskiq.abc.serializer import TaskiqSerializer
from taskiq.serializers import JSONSerializer, ORJSONSerializer, PickleSerializer

from kiqstart.broker import Sealing, SealingError, TasksSettings
from kiqstart.observability.redaction import redact
from kiqstart.tasks.formatting import JsonFormatter, OutgoingJson
from kiqstart.tasks.sealing.errors import UntrustedMessageError
from kiqstart.tasks.sealing.formatting import SealedFormatter
from kiqstart.tasks.sealing.sealing import SealingParts


def key(name: str) -> str:
    return f"{name}:{base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip('=')}"


OLD, NEW, SECRET = key("old"), key("new"), key("secret")
SIGNED = Sealing(signing_keys=NEW)
ENCRYPTED = Sealing(signing_keys=NEW, encryption_keys=SECRET)
MESSAGE = TaskiqMessage(
    task_id="an-id",
    task_name="pay",
    labels={"queue_name": "low", "args": "x"},
    labels_types={"queue_name": 1, "args": 1},
    args=[7],
    kwargs={"who": "Ada", "encrypted": "1:k:AAAA"},
)
JSON_ARGUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def formatter(
    sealing: Sealing | None, scope: str = "a:tasks", serializer: TaskiqSerializer | None = None
) -> JsonFormatter:
    broker = InMemoryBroker().with_serializer(serializer or ORJSONSerializer())
    return JsonFormatter(broker) if sealing is None else SealedFormatter(broker, SealingParts(sealing, scope))


def flipped(data: bytes) -> Sequence[bytes]:
    """The message with each bit of each byte changed, one at a time, and with each byte taken out or doubled."""
    found = [
        data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
        for place in range(len(data))
        for bit in range(8)
    ]
    found += [data[:place] + data[place + 1 :] for place in range(len(data))]
    return found + [data[: place + 1] + data[place:] for place in range(len(data)) if place]


@pytest.mark.parametrize("sealing", [SIGNED, ENCRYPTED])
def test_nothing_that_was_changed_by_a_bit_or_a_byte_is_read(sealing: Sealing) -> None:
    reading = formatter(sealing)
    data = reading.dumps(MESSAGE).message
    for tampered in flipped(data):
        with pytest.raises(UntrustedMessageError):
            reading.loads(tampered)
    assert reading.loads(data) == MESSAGE


@pytest.mark.parametrize("sealing", [SIGNED, ENCRYPTED])
def test_no_part_of_one_message_fits_another(sealing: Sealing) -> None:
    reading = formatter(sealing)
    one, other = (
        reading.dumps(MESSAGE.model_copy(update={"task_id": name, "args": [name]})).message for name in ("one", "two")
    )
    marks = [mark for mark in (b'"args":[', b'"kwargs"', b'"encrypted":', b'"seal":') if mark in one]
    for mark in marks:
        with pytest.raises(UntrustedMessageError):
            reading.loads(one[: one.rindex(mark)] + other[other.rindex(mark) :])
    with pytest.raises(UntrustedMessageError):
        reading.loads(other[:-1] + b"," + one[1:])


@pytest.mark.parametrize("sealing", [SIGNED, ENCRYPTED])
@pytest.mark.parametrize("serializer", [ORJSONSerializer(), JSONSerializer(), JSONSerializer(ensure_ascii=False)])
@settings(max_examples=15, deadline=None)
@given(args=st.lists(JSON_ARGUMENTS, max_size=3), kwargs=st.dictionaries(st.text(max_size=10), JSON_ARGUMENTS))
def test_what_is_read_is_what_was_sent(
    sealing: Sealing, serializer: TaskiqSerializer, args: list[Any], kwargs: Mapping[str, Any]
) -> None:
    message = MESSAGE.model_copy(update={"args": args, "kwargs": dict(kwargs)})
    sealed, plain = formatter(sealing, serializer=serializer), formatter(None, serializer=serializer)
    data = sealed.dumps(message).message
    assert sealed.loads(data) == plain.loads(plain.dumps(message).message)
    assert sealed.envelope(data).task_id == plain.envelope(data).task_id == "an-id"


@pytest.mark.parametrize("sealing", [SIGNED, ENCRYPTED])
def test_messages_of_a_template_are_sealed_like_others(sealing: Sealing) -> None:
    sealed = formatter(sealing)
    template = sealed.template(MESSAGE)
    assert template is not None
    short = template.message_of_scalars("id-1", [1, "text"], {"who": "Eve"})
    assert isinstance(short, OutgoingJson)
    long = template.message("id-2", [1, [2.5]], {})
    assert sealed.loads(short.message).args == [1, "text"]
    assert sealed.loads(long.message).args == [1, [2.5]]
    assert sealed.loads(long.message).task_id == "id-2"
    for one in (short, long):
        assert (b"args" in one.message.replace(b'"args":"x"', b"").replace(b'"args":1', b"")) is (sealing is SIGNED)


def test_arguments_are_not_to_be_seen_and_what_routes_is() -> None:
    message = MESSAGE.model_copy(update={"args": ["a-secret"]})
    data = formatter(ENCRYPTED).dumps(message).message
    assert b"a-secret" not in data
    assert b"Ada" not in data
    assert b'"task_id":"an-id"' in data
    assert b'"queue_name":"low"' in data
    assert formatter(ENCRYPTED).dumps(message).message != data


def test_the_first_key_signs_and_all_verify() -> None:
    before, both = formatter(Sealing(signing_keys=OLD)), formatter(Sealing(signing_keys=f"{OLD}, {NEW}"))
    turned, after = formatter(Sealing(signing_keys=f"{NEW},{OLD}")), formatter(SIGNED)
    # Each step of a rotation, beside the one before and the one after it.
    for one, other in ((before, both), (both, turned), (turned, after)):
        for sender, reader in ((one, other), (other, one)):
            if (sender, reader) in {(turned, before), (both, after)}:
                continue
            assert reader.loads(sender.dumps(MESSAGE).message) == MESSAGE
    with pytest.raises(UntrustedMessageError, match="signed with the key 'new'; this process has: old"):
        before.loads(after.dumps(MESSAGE).message)


def test_a_key_of_the_same_id_is_another_key() -> None:
    with pytest.raises(UntrustedMessageError, match="not what was signed with the key 'new'"):
        formatter(SIGNED).loads(formatter(Sealing(signing_keys=key("new"))).dumps(MESSAGE).message)


def test_what_is_signed_for_one_queue_is_not_taken_in_another() -> None:
    with pytest.raises(UntrustedMessageError):
        formatter(SIGNED, "b:tasks").loads(formatter(SIGNED, "a:tasks").dumps(MESSAGE).message)


def test_who_has_no_keys_reads_what_is_signed_and_not_what_is_encrypted() -> None:
    plain = formatter(None)
    assert plain.loads(formatter(SIGNED).dumps(MESSAGE).message) == MESSAGE
    with pytest.raises(UntrustedMessageError, match="encrypted"):
        plain.loads(formatter(ENCRYPTED).dumps(MESSAGE).message)
    with pytest.raises(UntrustedMessageError, match="encrypted"):
        formatter(SIGNED).loads(formatter(ENCRYPTED).dumps(MESSAGE).message)


def test_a_message_without_a_signature_is_taken_where_none_is_required() -> None:
    data = formatter(None).dumps(MESSAGE).message
    assert formatter(Sealing(signing_keys=NEW, is_required=False)).loads(data) == MESSAGE
    with pytest.raises(UntrustedMessageError, match="it is not signed"):
        formatter(SIGNED).loads(data)


def test_what_is_no_json_is_not_sent() -> None:
    with pytest.raises(SealingError, match="only JSON"):
        formatter(SIGNED, serializer=PickleSerializer()).dumps(MESSAGE)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a-key-without-an-id", "no id and key at place 1"),
        (f"{NEW},", "at place 2"),
        (f"{NEW},{key('new')}", "two keys with the id 'new'"),
        (f"{NEW},x:{NEW.split(':')[1]}", "the key of 'x' twice"),
        ("short:" + base64.b64encode(os.urandom(16)).decode(), "of 16 bytes, not of 32"),
        ("zeros:" + base64.b64encode(bytes(32)).decode(), "not random"),
        ("odd:AAAAA", "no base64"),
    ],
    ids=["no-id", "empty", "same-id", "same-key", "short", "zeros", "no-base64"],
)
def test_a_bad_key_is_named_at_start_and_never_shown(text: str, problem: str) -> None:
    with pytest.raises(SealingError, match=problem) as raised:
        Sealing(signing_keys=text)
    with pytest.raises(ValidationError, match=problem):
        TasksSettings(signing_keys=SecretStr(text))
    assert not any(part.partition(":")[2] in str(raised.value) for part in text.split(",") if ":" in part)


def test_encryption_needs_signatures() -> None:
    with pytest.raises(ValidationError, match="needs TASKS_SIGNING_KEYS"):
        TasksSettings(encryption_keys=SecretStr(SECRET))


def test_keys_are_shown_nowhere() -> None:
    secret = NEW.partition(":")[2]
    settings = TasksSettings(signing_keys=SecretStr(NEW))
    assert secret not in f"{settings!r} {settings.sealing!r}"
    assert secret not in redact(f"the key {secret}")
