"""The units of a prompt that are kept or cut as a whole: sentences, chat turns, blocks of code, lines of logs.

Everything here is linear in the text's length; spans are [start, end) character offsets.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from reasoning_bank.compression.edits import Kind, Segment, Span
from reasoning_bank.compression.elements import Element, read_elements


@dataclass(frozen=True, slots=True)
class Unit:
    """What is kept or cut as a whole; only a run that has no place to be cut at is longer than asked for.

    Attributes:
        segment: index of its segment.
        paragraph: number of what it belongs to: a paragraph with its heading, four chat turns, a block of code.
        frame: it says nothing without the rest of its segment, and the rest says little without it: the lines of a
            fence, the header of a table, the file that a diff is of.
        name: what it calls its paragraph, when it is a heading.
    """

    start: int
    end: int
    segment: int
    paragraph: int = 0
    frame: bool = False
    name: str = ""


LONG_LINE: Final = 400
"""Characters above which a line is cut at blanks too; no hand-written line of code is that long."""
_MOST_UNITS: Final = 20_000
_SHORTEST_PIECE: Final = 24
_SENTENCE_CHARS: Final = 100
"""Up to this length a line stays whole, and short sentences stay together."""
_TURN_CHARS: Final = 700
_BLOCK_CHARS: Final = 600
_TURNS_TOGETHER: Final = 4
_LINES_TOGETHER: Final = 8
_ROWS_LONGER: Final = 3
"""How much longer than a unit a row of JSON may be before it loses entries instead of going as a whole."""
_WRAPPED: Final = 200
"""A line longer than this is a paragraph of its own: nobody wraps lines there."""
_LONGEST_NAME: Final = 100
_WRAPS: Final = re.compile(r".{60,200}[^.!?:;|\s][ \t]*\r?\n")
_GOES_ON: Final = re.compile(r"[ \t]{0,4}(?![-+*\d]+[.)]?\s|\*\*)[\w(\[\"'`*]")
"""How a line begins that goes on; a list item, a heading or a row of a table does not."""

_BLOCKS: Final[frozenset[Kind]] = frozenset({"code", "diff", "trace", "yaml"})
_LINES: Final[frozenset[Kind]] = frozenset({"log", "json", "csv", "table"})
_SENTENCE_END: Final = re.compile(
    r"[.!?][\"')\]]{0,3}\s+(?=[\"'(\[]?[A-Z0-9\u00c0-\u04ff])|[。！？；][」』”’）]?|</[\w:-]{1,40}>\s*(?=<\w)"
)
"""A sentence ends, too, where an element of HTML begins right behind another one."""
_BLANKS: Final = re.compile(r"\s+")
_WORD: Final = re.compile(r"\S+")
_CJK: Final = "\u3001-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff01-\uff60"
_CJK_BREAK: Final = re.compile(f"(?<=[{_CJK}])(?=[{_CJK}])")
# One mark at a time: a run of them would be read to its end from each of its marks.
_STRUCTURE: Final = re.compile(r"[,;{}\[\]](?=[\"'(\w-])")
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,15}://[^\s\"'<>`]{1,2048}")
_STAMP: Final = r"(?:\[[^\]\n]{1,40}\] ?|\(\d[^)\n]{1,40}\) ?)?"
_TURN: Final = re.compile(
    rf"^{_STAMP}(?:\*\*)?[^\W\d_][\w.'-]{{0,24}}(?: [\w.'-]{{1,24}}){{0,2}}[^\n:]{{0,40}}:", re.MULTILINE
)
_TIME: Final = re.compile(rf"\s*{_STAMP}")
_BLOCK_END: Final = re.compile(r"\n(?:[ \t]*\n)+(?=\S)|\n(?=@@ |diff --git |Traceback |Caused by: )")
_LINE_END: Final = re.compile(r"\n+")
_HEADERS: Final[Mapping[Kind, re.Pattern[str]]] = {
    "csv": re.compile(r".{1,400}\n"),
    "table": re.compile(r".{1,400}\n(?:[ \t|:-]+\r?\n)?"),
    "diff": re.compile(r"(?:(?!@@ ).{0,400}\n){1,8}(?=@@ )"),
}
_FILE: Final = re.compile(r"^(?:diff --git |Index: |--- .*\n\+\+\+ )", re.MULTILINE)
"""Where the part of a diff begins that is of another file."""
_HEADING: Final = re.compile(
    r"\s{0,3}(?:#{1,6}\s+(?P<hash>\S.*?)[\s#]*|\*\*(?P<bold>[^*\n]+)\*\*:?\s*|(?P<colon>[^\n.!?]{2,80}):\s*)"
)


@dataclass(frozen=True, slots=True)
class _Limits:
    sentence: int
    piece: int


def json_elements(
    text: str, segments: Sequence[Segment], *, longest: int = LONG_LINE, whole: int = LONG_LINE
) -> dict[int, Element]:
    """Return the elements of JSON by the numbers of their segments; what does not parse is not there.

    See `units` for the other arguments.

    Args:
        whole: characters above which no element goes as a whole, however its parts hang together.
    """
    limits = _limits(text, longest)
    found = {
        number: read_elements(
            text,
            segment.body,
            longest=min(_ROWS_LONGER * limits.piece, whole),
            shortest=limits.sentence,
            split=lambda source, start, end: list(_pieces(source, start, end, limits, by_line=False)),
        )
        for number, segment in enumerate(segments)
        if segment.kind == "json"
    }
    return {number: value for number, value in found.items() if value is not None}


def units(
    text: str,
    segments: Sequence[Segment],
    *,
    longest: int = LONG_LINE,
    elements: Mapping[int, Element] = MappingProxyType({}),
) -> list[Unit]:
    """Cut a text into units that cover it, never inside a word, number, address or code token.

    Args:
        text: the prompt.
        segments: cover the text, in order.
        longest: characters of a unit to aim for, at least 24; small budgets need small units.
        elements: segments that are cut between the elements of their JSON, by their numbers.
    """
    longest = max(longest, _SHORTEST_PIECE)
    shared = _shared(text)
    found: list[Unit] = []
    paragraph = 0
    for number, segment in enumerate(segments):
        opening, closing = segment.body
        if opening > segment.start:
            found.append(Unit(segment.start, opening, number, paragraph, frame=segment.is_fenced))
        header = _header_end(text, segment)
        if header > opening:
            found.append(Unit(opening, header, number, paragraph, frame=True))
        body = (
            _elements(segment, elements[number])
            if number in elements
            else _body(text, segment.kind, (header, closing), longest=longest, shared=shared)
        )
        for start, end, within, name in body:
            found.append(Unit(start, end, number, paragraph + within, name=name))
        if closing < segment.end:
            found.append(Unit(closing, segment.end, number, found[-1].paragraph, frame=segment.is_fenced))
        paragraph = (found[-1].paragraph if found else 0) + 1
    return found


def judged(text: str, unit: Unit, kind: Kind) -> str:
    """Return the unit's text as relevance is judged by: a chat turn without its time."""
    shown = text[unit.start : unit.end].strip()
    return _TIME.sub("", shown, count=1) if kind == "chat" else shown


def word_spans(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the words of a stretch without the blanks between them: addresses whole, CJK characters one by one."""
    for run in _WORD.finditer(text, start, end):
        yield from _broken(text, run.span(), 1)


_Found = tuple[int, int, int, str]
"""Start, end, paragraph within the segment, name."""


def _shared(text: str) -> int:
    """Return how many characters share a unit at least: more in a very long text."""
    return max(len(text) // _MOST_UNITS, 1)


def _limits(text: str, longest: int) -> _Limits:
    longest, shared = max(longest, _SHORTEST_PIECE), _shared(text)
    return _Limits(max(min(_SENTENCE_CHARS, longest), shared), max(longest, shared))


def _elements(segment: Segment, value: Element) -> Iterator[_Found]:
    """Yield the elements of JSON, each with what stands between it and the next."""
    starts = [leaf.start for leaf in value.leaves()][1:]
    for number, (start, end) in enumerate(pairwise([segment.body[0], *starts, segment.body[1]])):
        yield start, end, number // _LINES_TOGETHER, ""


def _header_end(text: str, segment: Segment) -> int:
    """Return where the header of a table or a diff ends; the start of the body where there is none."""
    start, end = segment.body
    pattern = _HEADERS.get(segment.kind)
    found = pattern.match(text, start, end) if pattern else None
    if not found or found.end() >= end or (segment.kind == "diff" and _FILE.search(text, found.end(), end)):
        return start
    return found.end()


def _body(text: str, kind: Kind, body: Span, *, longest: int, shared: int) -> Iterator[_Found]:
    start, end = body
    whole = _Limits(longest, longest)
    if kind == "chat":
        ends = [match.start() for match in _TURN.finditer(text, start, end) if match.start() > start]
        limits = _Limits(min(_TURN_CHARS, longest), min(LONG_LINE, longest))
        yield from _grouped(text, _joined([*ends, end], start, shared), limits, together=_TURNS_TOGETHER)
    elif kind in _BLOCKS:
        ends = _ends(text, start, end, _BLOCK_END)
        blocks = _joined(ends, start, max(min(_BLOCK_CHARS, longest), shared))
        yield from _grouped(text, blocks, _Limits(max(min(_BLOCK_CHARS, longest), shared), longest), together=1)
    elif kind in _LINES:
        # JSON that is broken and laid out has hardly more than a mark in each line.
        shortest = max(_SENTENCE_CHARS, shared) if kind == "json" else shared
        yield from _grouped(text, _lines(text, start, end, shortest), whole, together=_LINES_TOGETHER)
    else:
        yield from _prose(text, body, _limits(text, longest), shared)


def _grouped(text: str, spans: Iterable[Span], limits: _Limits, *, together: int) -> Iterator[_Found]:
    """Yield spans, long ones in pieces; so many neighbours make a paragraph."""
    for number, (start, end) in enumerate(spans):
        for first, last in _pieces(text, start, end, limits):
            yield first, last, number // together, ""


def _prose(text: str, body: Span, limits: _Limits, shared: int) -> Iterator[_Found]:
    """Yield sentences; a paragraph ends at an empty line or a long line, and a heading belongs to what follows."""
    paragraph = 0
    is_open = True
    for start, end in _unwrapped(text, _lines(text, *body, shared)):
        name = _heading(text[start:end])
        if name or not is_open:
            paragraph += 1
        for first, last in _pieces(text, start, end, limits, by_line=False):
            yield first, last, paragraph, name
        is_open = bool(name) or not (end - start > _WRAPPED or text[start:end].endswith(("\n\n", "\n\r\n")))


def _unwrapped(text: str, lines: Iterable[Span]) -> Iterator[Span]:
    """Yield lines, those as one that an editor wrapped within a sentence."""
    held: Span | None = None
    wraps = False
    for start, end in lines:
        if held and wraps and _GOES_ON.match(text, start):
            held = (held[0], end)
        else:
            if held:
                yield held
            held = (start, end)
        wraps = _WRAPS.fullmatch(text, start, end) is not None
    if held:
        yield held


def _heading(line: str) -> str:
    if len(line) > _LONGEST_NAME + 20:
        return ""
    found = _HEADING.fullmatch(line.rstrip())
    return (found[found.lastgroup or 0] if found else "").strip()


def _lines(text: str, start: int, end: int, shortest: int) -> Iterator[Span]:
    """Yield lines with the blank lines behind them; in a very long text several lines at once."""
    while start < end:
        stop = text.find("\n", min(start + shortest - 1, end), end) + 1 or end
        while stop < end and text[stop] in "\r\n":
            stop += 1
        yield start, stop
        start = stop


def _pieces(text: str, start: int, end: int, limits: _Limits, *, by_line: bool = True) -> Iterator[Span]:
    """Yield a text whole when it is short, else its sentences, or lines, else runs of words."""
    if end - start <= limits.sentence:
        yield start, end
        return
    lines = _ends(text, start, end, _LINE_END) if by_line else ()
    for first, last in _joined(sorted({*lines, *_ends(text, start, end, _SENTENCE_END)}), start, limits.sentence):
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
