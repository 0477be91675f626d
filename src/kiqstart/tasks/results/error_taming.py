"""Puts errors that can be asked for their parts in the place of those that cannot."""

from collections.abc import Mapping

from kiqstart.tasks.results.error_classes import derived_from, instance, set_part, tells
from kiqstart.tasks.results.error_decoding import args_of, decode_error, link
from kiqstart.tasks.results.error_encoding import MAX_ERRORS, encode_error, is_attribute, own
from kiqstart.tasks.results.error_soundness import has_sound_text, is_sound
from kiqstart.tasks.results.plain_values import members_of


def tamed(error: BaseException) -> BaseException:
    """The error itself; or, if one in its chain says odd things of itself, a sound one in the place of each such.

    Whoever logs or stores an error, or tells its kind, runs code of its class, which may raise anything or give what is
    of no use. The one in its place is an instance of the same class if Python allows that, and keeps its traceback.
    """
    waiting, seen = [error], {id(error)}
    if not _is_wholly_sound(error):
        error = _made_sound(error)
        waiting = []
    while waiting and len(seen) < MAX_ERRORS:
        one = waiting.pop()
        for name in ("__cause__", "__context__"):
            linked = own(one, name)
            if linked is None or id(linked) in seen:
                continue
            seen.add(id(linked))
            if _is_wholly_sound(linked):
                waiting.append(linked)
                continue
            is_suppressed = own(one, "__suppress_context__")
            set_part(one, name, _made_sound(linked))
            set_part(one, "__suppress_context__", is_suppressed)
    return error


def _is_wholly_sound(error: BaseException) -> bool:
    waiting, count = [error], 0
    while waiting and count < MAX_ERRORS:
        count += 1
        one = waiting.pop()
        if not (is_sound(one) and has_sound_text(one)):
            return False
        waiting.extend(members_of(one))
    return True


def _made_sound(error: BaseException) -> BaseException:
    encoded = encode_error(error)
    made = _of_its_class(error, encoded)
    if made is None:
        made = decode_error(encoded)
    set_part(made, "__traceback__", own(error, "__traceback__"))
    return made


def _of_its_class(error: BaseException, encoded: Mapping[str, object]) -> BaseException | None:
    """An instance of an error's class, found without its name, and with all of its attributes."""
    args = args_of(encoded)
    for cls in () if members_of(error) else derived_from(type(error)):
        made = instance(cls, args, [])
        if made is not None:
            attributes = own(error, "__dict__").items()
            own(made, "__dict__").update({name: value for name, value in attributes if is_attribute(name)})
            if tells(made, str(encoded["text"]), args) and has_sound_text(made) and is_sound(made):
                link(made, encoded)
                return made
    return None
