"""JSON that does not fit: which elements it has, and what goes with those that are left out so that it stays JSON."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from reasoning_bank.compression.edits import Span
from reasoning_bank.compression.structured import blanks_end

_DEEPEST: Final = 8
"""Levels that are opened; what lies deeper goes as a whole."""

Split = Callable[[str, int, int], Sequence[Span]]
"""Cuts a stretch of text into spans that cover it."""


class Gap(NamedTuple):
    """What goes of a value; within a string a mark takes its place."""

    start: int
    end: int
    is_text: bool


@dataclass(frozen=True, slots=True)
class Element:
    """An item of an array, an entry of an object with its key, or a stretch of a long string.

    Attributes:
        parts: what it is made of where it is too long to go as a whole.
        is_text: its parts are stretches of a string, else items or entries.
    """

    start: int
    end: int
    parts: Sequence["Element"] = ()
    is_text: bool = False

    def leaves(self) -> Iterator["Element"]:
        """Yield what goes or stays as a whole, in order."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()

    def gaps(self, kept: Collection[int]) -> list[Gap]:
        """Return what goes when of all leaves only those stay which start at one of these offsets; sorted and apart."""
        stays = [any(leaf.start in kept for leaf in part.leaves()) for part in self.parts]
        found: list[Gap] = []
        last: Element | None = None
        for at, part in enumerate(self.parts):
            if stays[at]:
                if last is None and at:
                    found.append(Gap(self.parts[0].start, part.start, self.is_text))
                found += part.gaps(kept)
                last = part
            elif last is not None:
                # With what is left out goes the comma before it.
                start = found.pop().start if at and not stays[at - 1] else last.end
                found.append(Gap(start, part.end, self.is_text))
        return found


def read_elements(source: str, span: Span, *, longest: int, shortest: int, split: Split) -> Element | None:
    """Return JSON values that follow one another as one element, or None for what is no JSON.

    Args:
        source: a text.
        span: where in it the values stand.
        longest: characters of an element that goes as a whole.
        shortest: characters up to which neighbours stay together.
        split: cuts long strings.
    """
    reader = _Reader(source, json.JSONDecoder(), longest, shortest, split)
    values: list[Element] = []
    at = blanks_end(source, span[0])
    try:
        while at < span[1]:
            end = reader.end(at)
            values.append(reader.element(at, at, end, 0))
            at = blanks_end(source, end)
    except (ValueError, RecursionError):
        return None
    return Element(*span, reader.together(values)) if values else None


class _Reader(NamedTuple):
    source: str
    decoder: json.JSONDecoder
    longest: int
    shortest: int
    split: Split

    def end(self, at: int) -> int:
        """Return where the value that starts at a place ends; raises ValueError where there is none."""
        found: tuple[Any, int] = self.decoder.raw_decode(self.source, at)
        return found[1]

    def element(self, start: int, value: int, end: int, depth: int) -> Element:
        """Return the element of a value, which has a key in front where it does not start the element."""
        if end - start <= self.longest or depth >= _DEEPEST:
            return Element(start, end)
        if self.source[value] == '"':
            spans = self.split(self.source, value + 1, end - 1)
            parts = [Element(*span) for span in spans] if len(spans) > 1 else []
            return Element(start, end, parts, is_text=True)
        return Element(start, end, self.together(list(self._inside(value, end, depth + 1))))

    def together(self, parts: Sequence[Element]) -> list[Element]:
        """Return the elements, short neighbours as one."""
        found: list[Element] = []
        for part in parts:
            if found and not found[-1].parts and not part.parts and part.end - found[-1].start <= self.shortest:
                found[-1] = Element(found[-1].start, part.end)
            else:
                found.append(part)
        return found

    def _inside(self, start: int, end: int, depth: int) -> Iterator[Element]:
        """Yield the items or entries between two brackets; nothing of a number, which has no brackets."""
        at = blanks_end(self.source, start + 1) if self.source[start] in "{[" else end
        while at < end - 1:
            first = at
            if self.source[start] == "{":
                colon = blanks_end(self.source, self.end(at))
                at = blanks_end(self.source, colon + 1)
            last = self.end(at)
            yield self.element(first, at, last, depth)
            comma = blanks_end(self.source, last)
            at = blanks_end(self.source, comma + 1)
