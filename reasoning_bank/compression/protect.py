"""What the caller wants to keep to the letter: literals, regular expressions, and `<keep>...</keep>` spans."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from reasoning_bank.compression.edits import Span, joined
from reasoning_bank.errors import InputError
from reasoning_bank.text.patterns import Pattern, encodable, linear

if TYPE_CHECKING:
    from collections.abc import Iterable

PATTERN: Final = "re:"
"""What a regular expression begins with; all else is a literal."""
MOST_LITERALS: Final = 100
"""Literals and patterns a call may send: each is looked for in the whole prompt, which may have megabytes."""

_OPEN: Final = "<keep>"
_CLOSE: Final = "</keep>"
_OVERLAPPING: Final = 64
_MOST_SECONDS: Final = 2.0
"""One search takes time by the length of the prompt, but a pattern may start one at every character."""


def protected(text: str, preserve: Sequence[str] = ()) -> tuple[Span, ...]:
    """Return the spans that must stay as they are, sorted, those that overlap or meet as one.

    Args:
        text: the prompt.
        preserve: literals, found wherever they occur; an entry that begins with `re:` is a regular expression in the
            syntax of RE2, which knows no look-around and no back-references, since these can take for ever.

    Raises:
        InputError: too many entries, or a pattern that RE2 does not take, or that takes too long.
    """
    if len(preserve) > MOST_LITERALS:
        raise InputError(f"preserve has {len(preserve)} entries, the limit is {MOST_LITERALS}: send fewer")
    found: list[Span] = list(_tagged(text))
    for entry in preserve:
        found += _matches(text, entry) if entry.startswith(PATTERN) else _occurrences(text, entry)
    return tuple(joined(found))


def _tagged(text: str) -> Iterator[Span]:
    """Yield the spans between keep tags, with the tags, so that what comes out can go in again; an open tag is text."""
    start = text.find(_OPEN)
    while start >= 0:
        end = text.find(_CLOSE, start)
        if end < 0:
            return
        yield start, end + len(_CLOSE)
        start = text.find(_OPEN, end)


def _occurrences(text: str, literal: str) -> "Iterable[Span]":
    if not literal:
        return
    # A long literal that overlaps itself, such as a ruler of dashes, is not looked for at each of its characters:
    # that would take time by its length times the text's.
    step = 1 if len(literal) <= _OVERLAPPING else len(literal)
    at = text.find(literal)
    while at >= 0:
        yield at, at + len(literal)
        at = text.find(literal, at + step)


def _matches(text: str, entry: str) -> Iterator[Span]:
    pattern = _compiled(entry)
    limit = time.monotonic() + _MOST_SECONDS
    for match in pattern.finditer(encodable(text)):
        start, end = match.span()
        if start < end:
            yield start, end
        if time.monotonic() > limit:
            raise InputError(
                f"the pattern {entry!r} takes too long on this prompt: make it match less, or longer parts"
            )


def _compiled(entry: str) -> Pattern:
    try:
        return linear(entry.removeprefix(PATTERN))
    except InputError as error:
        raise InputError(f"the pattern {entry!r} cannot be used: {error}, or the literal text") from error
