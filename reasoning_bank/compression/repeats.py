"""Blocks that a prompt says again: the second time a line says where they stood."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from reasoning_bank.compression.edits import Edit, Kind, Segment, Span

_SHORTEST: Final = 60
"""Characters of a block that is worth a reference."""
_QUOTES: Final = (24, 48, 96)
"""Characters of the beginning of a block that a reference quotes: as few as tell it from all that stands before."""
_TELLING: Final = re.compile(r"(?:[^\W_][\W_]*){8}")
"""What a quote needs: a ruler of dashes finds nothing."""
REFERENCE: Final = re.compile(r"^\[the (?:line|\d+ lines) above from \"", re.MULTILINE)
"""How a reference begins."""
_MOST_PLACES: Final = 500
"""Different blocks that are referred to: for each, its beginning is looked for in all that stands before it."""
_BY_LINES: Final[frozenset[Kind]] = frozenset({"prose", "log", "trace", "chat", "memories"})


class _Unit(NamedTuple):
    """A line, or a segment that goes as a whole.

    Attributes:
        text: without the blanks behind it; "" for what is empty or must not be replaced.
        lines: line ends in it, with those of the empty lines behind its text.
    """

    start: int
    end: int
    text: str
    lines: int


def references(text: str, segments: Sequence[Segment], *, preserve_json: bool) -> list[Edit]:
    """Return the edits that put a reference in the place of each block that stood before, word by word.

    A reference says how many lines the block has and quotes how it begins: the first place in the text with the quote
    is the first line of the block. Code and data go as a whole or not at all, instructions never. A text that has
    references gets no more: new ones could change the lines that the old ones count.

    Args:
        text: the prompt.
        segments: its segments.
        preserve_json: JSON stays, since something will parse it.
    """
    if REFERENCE.search(text):
        return []
    finder = _Finder(text, list(_units(text, segments, preserve_json=preserve_json)))
    edits: list[Edit] = []
    at = 0
    while at < len(finder.units):
        found = finder.block(at)
        if found:
            edits.append(found[0])
            at = found[1]
        else:
            finder.first.setdefault(finder.units[at].text, at)
            at += 1
    return edits


def _units(text: str, segments: Sequence[Segment], *, preserve_json: bool) -> Iterator[_Unit]:
    for segment in segments:
        stays = segment.is_protected or segment.kind == "instruction" or (segment.kind == "json" and preserve_json)
        if stays or (segment.kind not in _BY_LINES and not segment.is_fenced):
            yield _whole(text, (segment.start, segment.end), stays=stays)
        elif segment.is_fenced:
            first, last = segment.body
            yield _whole(text, (segment.start, first), stays=True)
            yield _whole(text, (first, last), stays=False)
            yield _whole(text, (last, segment.end), stays=True)
        else:
            yield from _lines(text, segment)


def _whole(text: str, span: Span, *, stays: bool) -> _Unit:
    return _Unit(*span, "" if stays else text[slice(*span)].rstrip(), text.count("\n", *span))


def _lines(text: str, segment: Segment) -> Iterator[_Unit]:
    at = segment.start
    for line in text[segment.start : segment.end].split("\n"):
        end = min(at + len(line) + 1, segment.end)
        if at < end:
            yield _Unit(at, end, line.rstrip(), text.count("\n", at, end))
        at = end


class _Finder:
    """Walks through the units of one text; knows where each stood first, and which are gone."""

    def __init__(self, text: str, units: Sequence[_Unit]) -> None:
        self.units = units
        self.first: dict[str, int] = {}
        self._text = text
        self._gone = bytearray(len(units))
        self._quotes: dict[int, str] = {}

    def block(self, at: int) -> tuple[Edit, int] | None:
        """Return the edit for a block that starts at a unit and stood before, with the unit behind it."""
        earlier = self.first.get(self.units[at].text) if self.units[at].text else None
        quote = self._quote(earlier) if earlier is not None else ""
        if earlier is None or not quote:
            return None
        length = self._length(earlier, at)
        block = self.units[at : at + length]
        end = block[-1].start + len(block[-1].text)
        if end - block[0].start < _SHORTEST:
            return None
        self._gone[at : at + length] = b"\1" * length
        lines = sum(unit.lines for unit in block[:-1]) + block[-1].text.count("\n") + 1
        said = "the line above" if lines == 1 else f"the {lines} lines above"
        return Edit(block[0].start, end, f'[{said} from "{quote}"]'), at + length

    def _length(self, earlier: int, at: int) -> int:
        """Return how many units from two places on are equal; the last is not empty."""
        length, last = 0, 1
        while earlier + length < at and at + length < len(self.units) and not self._gone[earlier + length]:
            one, other = self.units[earlier + length], self.units[at + length]
            if one.text != other.text or (not one.text and (one.lines > 1 or one.end - one.start > 2)):
                break
            length += 1
            last = length if one.text else last
            if one.lines != other.lines:
                break
        return last

    def _quote(self, place: int) -> str:
        """Return the shortest beginning of a unit that stands nowhere before it, "" where even a long one does."""
        if place not in self._quotes and len(self._quotes) < _MOST_PLACES:
            self._quotes[place] = self._shortest(place)
        return self._quotes.get(place, "")

    def _shortest(self, place: int) -> str:
        unit = self.units[place]
        line = unit.text.lstrip().split("\n", 1)[0]
        for length in _QUOTES:
            quote = line[:length].rstrip()
            if _TELLING.search(quote) and unit.start <= self._text.find(quote) < unit.end:
                return quote
        return ""
