"""What is promised of unique keys."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tests.invariants.facts import Breach, Found, Sent, name_of


def breaches_of_answer(
    sent: Sent, *, owed: Iterable[Sent], holders: Sequence[Sent], has_ended: Callable[[Sent, float], bool]
) -> Iterator[Breach]:
    """What is not true of what a sender was told about its key.

    Args:
        sent: its message.
        owed: what was accepted and has not ended, as far as is known.
        holders: the messages of the task that it was told to hold the key.
        has_ended: whether a message's task had ended by a time, as some caller knew then.
    """
    if sent.holder:
        told = f"the sender of {name_of(sent)} was told that {sent.holder} holds its key"
        if sent.arrived is not None:
            yield Breach(text=f"{told}, but it was added", task_id=sent.task_id)
        if len(holders) == 1 and has_ended(holders[0], sent.asked):
            yield Breach(text=f"{told}, which had ended", task_id=sent.task_id)
    elif sent.told == "sent" and not (sent.may_be_gone or sent.is_resent):
        for other in owed:
            is_rival = other.unique == sent.unique and other is not sent and other.told_at < sent.asked
            if is_rival and not (other.is_touched or other.is_buried or other.is_resent):
                text = f"{name_of(sent)} was accepted while {other.task_id} has its key {sent.unique}"
                yield Breach(text=text, task_id=sent.task_id)


def breaches_of_holders(found: Sequence[Found], sent: Mapping[int, Sent]) -> Iterator[Breach]:
    """Which messages do not have their key, and which have one together."""
    holders = {one.unique: one.task_id for one in found if one.kind == "key"}
    held: dict[str, Found] = {}
    for one in found:
        is_held = one.unique and one.kind in ("stream", "delayed") and one.uid is not None
        if not is_held or sent[one.uid or 0].is_touched:
            continue
        # A key is its task's: what Redis had lost data of, and runs on, frees that of a later send of the same id.
        was_lost = any(other.task_id == one.task_id and other.is_touched for other in sent.values())
        if holders.get(one.unique) != one.task_id and not was_lost:
            yield Breach(text=f"message {one.uid} waits or runs without its key {one.unique}", task_id=one.task_id)
        if one.unique in held:
            text = f"{held[one.unique].uid} and {one.uid} both have the key {one.unique}"
            yield Breach(text=text, task_id=one.task_id)
        held[one.unique] = one


def breaches_of_gone_holders(found: Sequence[Found], of_task: Mapping[str, Sequence[Sent]]) -> Iterator[Breach]:
    """Which keys are held by tasks that are nowhere."""
    there = {one.task_id for one in found if one.kind in ("stream", "delayed")}
    for one in found:
        if one.kind == "key" and one.task_id not in there:
            holders = of_task.get(one.task_id, ())
            if holders and not any(holder.is_touched for holder in holders):
                yield Breach(text=f"key {one.unique} is held by {one.task_id}, which is nowhere", task_id=one.task_id)
