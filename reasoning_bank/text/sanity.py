"""What text may enter the bank, and what is taken out of text before a model reads it.

At the door nothing is changed silently: text that no database or wire can carry (NUL, lone
surrogates) is refused with its place. When a memory is served, characters that a person cannot
see but a model reads (controls, bidi overrides, zero-width and tag characters) are removed.
"""

import math
import re

from reasoning_bank.errors import InputError
from reasoning_bank.records import JsonValue

MAX_JSON_DEPTH = 64
"""Levels of nesting; a tool result inside a step inside a trajectory stays well below it."""

_LINE_BREAKS = re.compile("[\x0b\x0c\u0085\u2028\u2029]")
_INVISIBLE = re.compile(
    "\x1b\\[[0-?]{0,64}[ -/]{0,16}[@-~]"  # ANSI colours and cursor moves, whole
    "|\x1b\\][^\x07\x1b\n]{0,512}(?:\x07|\x1b\\\\)"  # ANSI titles and hyperlinks, whole
    "|[\x00-\x08\x0d-\x1f\x7f-\x9f]"  # C0 and C1 controls but tab and newline
    "|[\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e]"
    "|[\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]"  # zero-width, bidi isolates, fillers
    "|[\U000e0000-\U000e007f]"  # tag characters: a whole hidden ASCII
)
# Joiners and variation selectors mean something between emoji or in Indic and Arabic script; long
# runs of them, or ones after ASCII, only hide data.
_CONTEXTUAL = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]+")
_MEANINGFUL_RUNS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]?[\u200c\u200d]?")


def clean_text(value: str, field: str) -> str:
    """Return the text unchanged when the bank can carry it.

    Args:
        value: text from a caller.
        field: its name in the caller's words, for the error.

    Raises:
        InputError: it holds a NUL character or a lone surrogate.
    """
    position = value.find("\x00")
    if position >= 0:
        raise InputError(f"{field} holds a NUL character at position {position}: remove it")
    if value.isascii():
        return value
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        code = f"U+{ord(value[error.start]):04X}"
        raise InputError(
            f"{field} holds a lone surrogate {code} at position {error.start}: send valid Unicode"
        ) from None
    return value


def required_text(value: str, field: str) -> str:
    """Return the text unchanged when the bank can carry it and it says something.

    Raises:
        InputError: it is empty, only blanks, or `clean_text` refuses it.
    """
    if not strip_invisible(clean_text(value, field)).strip():
        raise InputError(f"{field} is empty: send some text")
    return value


def clean_json(value: JsonValue, field: str) -> JsonValue:
    """Return the value unchanged when every string, key and number in it can be stored.

    Args:
        value: anything JSON can say.
        field: its name in the caller's words, for the error.

    Raises:
        InputError: a string or key that `clean_text` refuses, a number that is not finite, or
            more than `MAX_JSON_DEPTH` levels.
    """
    level: list[JsonValue] = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [child for item in level for child in _children(item, field)]
        if not level:
            return value
    raise InputError(f"{field} is nested deeper than {MAX_JSON_DEPTH} levels: send a flatter value")


def _children(value: JsonValue, field: str) -> list[JsonValue]:
    if isinstance(value, str):
        clean_text(value, field)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{field} holds {value!r}, which JSON cannot say: send a finite number")
    elif isinstance(value, dict):
        for key in value:
            clean_text(key, f"a key of {field}")
        return list(value.values())
    elif isinstance(value, list):
        return value
    return []


def strip_invisible(text: str) -> str:
    """Return the text without characters that a person cannot see but a model reads.

    Tab and newline stay, other line breaks become newlines; emoji sequences and joiners inside
    non-Latin words stay whole. Stripping twice changes nothing more.
    """
    if text.isascii() and text.isprintable():
        return text
    visible = _INVISIBLE.sub("", _LINE_BREAKS.sub("\n", text))
    return visible if visible.isascii() else _CONTEXTUAL.sub(_meaningful, visible)


def _meaningful(run: re.Match[str]) -> str:
    text, start, end = run.string, run.start(), run.end()
    before, after = text[start - 1 : start], text[end : end + 1]
    if not _MEANINGFUL_RUNS.fullmatch(run[0]):
        return ""
    if after == "\u20e3":  # a keycap such as 1️⃣ is the one sequence that starts with ASCII
        return run[0]
    joins = run[0][-1] in "\u200c\u200d"
    if not before or before.isascii() or (joins and (not after or after.isascii())):
        return ""
    return run[0]
