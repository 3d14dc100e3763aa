"""How a prompt is built: code fences and prose, and the units that are kept or cut as a whole.

Everything here is linear in the text's length; spans are [start, end) character offsets.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of the prompt: prose, or a code fence with its fence lines.

    Attributes:
        opening: end of the opening fence line, or `start` for prose.
        closing: start of the closing fence line, or `end` where there is none.
    """

    start: int
    end: int
    opening: int
    closing: int

    @property
    def fenced(self) -> bool:
        """True for a code fence."""
        return self.opening > self.start


@dataclass(frozen=True, slots=True)
class Unit:
    """What is kept or cut as a whole: a line, a sentence, a fence line, or a piece that has no place to be cut at.

    Attributes:
        region: index of its region.
        fence: it is the opening or closing line of a code fence.
    """

    start: int
    end: int
    region: int
    fence: bool = False


LONG_LINE = 400
"""Characters above which a line of code is cut at blanks too; no hand-written line is that long."""
_MOST_UNITS: Final = 20_000
_SHORTEST_PIECE: Final = 24

_FENCE: Final = re.compile(r"^[ \t]{0,16}(?P<fence>`{3,}|~{3,})(?P<info>[^\n`]*)$", re.MULTILINE)
_SENTENCE_END: Final = re.compile(r"[.!?][\"')\]]{0,3}\s+(?=[\"'(\[]?[A-Z0-9\u00c0-\u04ff])|[。！？；][」』”’）]?")
_BLANKS: Final = re.compile(r"\s+")
_CJK: Final = "\u3001-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff01-\uff60"
_CJK_BREAK: Final = re.compile(f"(?<=[{_CJK}])(?=[{_CJK}])")
_STRUCTURE: Final = re.compile(r"[,;{}\[\]]+(?=[\"'{\[(\w-])")
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,15}://[^\s\"'<>`]{1,2048}")


@dataclass(frozen=True, slots=True)
class _Limits:
    sentence: int
    piece: int


def regions(text: str) -> list[Region]:
    """Return the prose and the code fences of a text, in order, covering it; an open fence goes to the end."""
    found: list[Region] = []
    done = 0
    opened: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        if opened is None:
            if line.start() > done:
                found.append(Region(done, line.start(), done, line.start()))
            opened, done = line, line.start()
        elif _closes(opened["fence"], line):
            end = _line_end(text, line.end())
            found.append(Region(done, end, _line_end(text, opened.end()), line.start()))
            opened, done = None, end
    if opened is not None:
        found.append(Region(done, len(text), _line_end(text, opened.end()), len(text)))
    elif done < len(text):
        found.append(Region(done, len(text), done, len(text)))
    return found


def units(text: str, *, piece_chars: int, sentence_chars: int) -> list[Unit]:
    """Cut a text into units that cover it, never inside a word, number, address or code token.

    Args:
        text: the prompt.
        piece_chars: longest unit of prose to aim for; only a run without blanks is longer.
        sentence_chars: up to this length a line stays whole and short sentences stay together.
    """
    shortest = max(len(text) // _MOST_UNITS, 1)
    limits = _Limits(max(sentence_chars, _SHORTEST_PIECE), max(piece_chars, sentence_chars, _SHORTEST_PIECE))
    code = _Limits(LONG_LINE, LONG_LINE)
    found: list[Unit] = []
    for index, region in enumerate(regions(text)):
        if region.fenced:
            found.append(Unit(region.start, region.opening, index, fence=True))
        for start, end in _lines(text, region.opening, region.closing, shortest):
            pieces = _pieces(text, start, end, code if region.fenced else limits)
            found += (Unit(first, last, index) for first, last in pieces)
        if region.closing < region.end:
            found.append(Unit(region.closing, region.end, index, fence=True))
    return found


def _closes(fence: str, line: re.Match[str]) -> bool:
    return line["fence"][0] == fence[0] and len(line["fence"]) >= len(fence) and not line["info"].strip()


def _line_end(text: str, position: int) -> int:
    return min(position + 1, len(text))


def _lines(text: str, start: int, end: int, shortest: int) -> Iterator[Span]:
    """Yield lines with the blank lines behind them; in a very long text several lines at once."""
    while start < end:
        stop = text.find("\n", min(start + shortest - 1, end), end) + 1 or end
        while stop < end and text[stop] == "\n":
            stop += 1
        yield start, stop
        start = stop


def _pieces(text: str, start: int, end: int, limits: "_Limits") -> Iterator[Span]:
    """Yield a line whole when it is short, else its sentences, else runs of words."""
    if end - start <= limits.sentence:
        yield start, end
        return
    for first, last in _joined(_ends(text, start, end, _SENTENCE_END), start, limits.sentence):
        if last - first <= limits.piece:
            yield first, last
        else:
            for piece in _joined(_ends(text, first, last, _BLANKS), first, limits.piece):
                yield from _broken(text, piece, limits.piece)


def _broken(text: str, piece: Span, limit: int) -> Iterator[Span]:
    """Yield a run without blanks whole, or cut between CJK characters or behind the marks of minified JSON."""
    start, end = piece
    if end - start <= limit:
        yield piece
        return
    addresses = [match.span() for match in _ADDRESS.finditer(text, start, end)]
    ends = [*_ends(text, start, end, _CJK_BREAK)[:-1], *_structure_ends(text, start, end), end]
    yield from _joined(_outside(sorted(set(ends)), addresses), start, limit)


def _structure_ends(text: str, start: int, end: int) -> Iterator[int]:
    for mark in _STRUCTURE.finditer(text, start, end):
        # 1,234 is one number.
        if not (text[mark.start() - 1 : mark.start()].isdigit() and text[mark.end() : mark.end() + 1].isdigit()):
            yield mark.end()


def _ends(text: str, start: int, end: int, pattern: re.Pattern[str]) -> list[int]:
    ends = [match.end() for match in pattern.finditer(text, start, end) if start < match.end() < end]
    return [*ends, end]


def _outside(ends: list[int], spans: list[Span]) -> list[int]:
    starts = [start for start, _ in spans]
    return [end for end in ends if not ((at := bisect_right(starts, end - 1)) and end < spans[at - 1][1])]


def _joined(ends: Iterable[int], start: int, limit: int) -> Iterator[Span]:
    """Join neighbouring parts into spans of at most `limit` characters where the parts allow it."""
    last = start
    for end in ends:
        if end - start > limit and last > start:
            yield start, last
            start = last
        last = end
    if last > start:
        yield start, last
