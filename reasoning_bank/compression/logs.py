"""Logs and stack traces: equal lines counted, lines that differ in numbers folded, frames of libraries counted."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from reasoning_bank.compression.edits import Edit
from reasoning_bank.compression.repeats import REFERENCE
from reasoning_bank.text.analyser import words

_COUNTED: Final = re.compile(r"×\d+$")
_COSTS: Final = 8
"""Characters that " ×37" is worth."""
_COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")
_FEWEST: Final = 3
"""Lines alike before they are folded: what is rare is what matters in a log."""
_TELLING: Final = re.compile(
    r"error|fatal|critical|severe|exception|traceback|fail|panic|denied|refused|corrupt|abort|assert|warn",
    re.IGNORECASE,
)
# Timestamps first: masking bare numbers before would take them apart.
_SLOT: Final = re.compile(
    r"(?P<time>\d{4}[-/]\d\d[-/]\d\d[T ]?(?:\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|\d{1,2}:\d\d:\d\d(?:[.,]\d+)?|\b[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d)"
    r"|(?P<id>\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b0x[0-9a-fA-F]+\b"
    r"|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,64}\b|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b)"
    r"|(?P<number>(?<![\w.])-?\d+(?:\.\d+)?(?=[a-zA-Z%]{0,3}\b)|(?<=[=#_/:(\[-])\d+(?:\.\d+)?)"
)
_WORDS: Final = re.compile(r"[^\W\d_]{3}.*[^\W\d_]{3}")
"""What a pattern needs besides its slots: lines of bare values are a table, not events."""
_NAME: Final = re.compile(r"(?=[^\s\d]*\d)[\w.:/-]{1,80}")
"""Numbers, times, ids and paths with a digit."""
_CLOCK: Final = re.compile(r"(?<![\d:])(\d{1,2}:\d\d)(?::\d\d)?")
_QUESTION_READ: Final = 1_000
_RARE: Final = 0.1
_SAID: Final = 3
"""Slots of a folded line whose values are told."""

_FRAME: Final = re.compile(
    r"[ \t]*(?:File \"(?P<python>[^\"]+)\", line \d+|at (?:.*\((?P<call>[^)]*)\)|(?P<plain>\S.*))"
    r"|(?P<go>/\S+\.go:\d+.*))"
)
_LIBRARY: Final = re.compile(
    r"site-packages|dist-packages|/lib/python\d|\\lib\\|<frozen |node_modules|\bnode:|internal/"
    r"|/usr/(?:local/)?(?:go/src|lib)|/rustc/|\.cargo/registry|/go/pkg/mod"
)
_LIBRARY_CALL: Final = re.compile(
    r"[ \t]*at (?:(?:java|javax|jdk|sun|kotlin|scala|groovy|reactor)\.|com\.sun\."
    r"|org\.(?:springframework|apache|junit|hibernate|eclipse|gradle)\.|io\.(?:netty|micrometer)\.|System\.|Microsoft\.)"
)
_FEWEST_FRAMES: Final = 2
_FRAME_LINES: Final = 4
_READ: Final = 500
"""Characters of a line that are looked at for a frame."""


class _Line(NamedTuple):
    start: int
    end: int
    text: str


def counted(source: str) -> list[Edit]:
    """Return the edits that make one line of equal lines in a row, with their number: "connection lost ×37".

    Args:
        source: whole lines.
    """
    edits: list[Edit] = []
    for text, group in groupby(_lines(source), key=lambda line: line.text):
        lines = list(group)
        if len(lines) > 1 and len(text) * (len(lines) - 1) > _COSTS and text.strip() and not _COUNTED.search(text):
            edits.append(Edit(_text_end(lines[0]), _text_end(lines[-1]), f" ×{len(lines)}"))
    return edits


def uncoloured(source: str) -> list[Edit]:
    """Return the edits that take out the colours of a terminal."""
    return [Edit(match.start(), match.end(), "") for match in _COLOUR.finditer(source)]


def asked_for(sources: Iterable[str], question: str) -> frozenset[str]:
    """Return the words, numbers and names of a question that at most one in ten lines holds: what it is about."""
    terms = _terms(question[:_QUESTION_READ])
    if not terms:
        return frozenset()
    lines = [line for source in sources for line in source.split("\n")]
    common = Counter(term for line in lines for term in terms.intersection(_terms(line)))
    return frozenset(term for term, count in common.items() if count <= max(_RARE * len(lines), _FEWEST))


def folded(source: str, *, asked: Collection[str] = ()) -> list[list[Edit]]:
    """Return, for each pattern of lines, the edits that leave its first line, with how many there were and what varied.

    Lines that tell of errors and warnings stay, as do patterns with fewer than three lines, and lines with a term of
    `asked`: a folded line could have been the answer.
    """
    patterns: dict[str, list[_Line]] = {}
    for line in _lines(source):
        stays = _TELLING.search(line.text) or REFERENCE.match(line.text)
        stays = stays or (asked and not _terms(line.text).isdisjoint(asked))
        if not stays and _WORDS.search(pattern := _SLOT.sub(_mask, line.text)):
            patterns.setdefault(pattern, []).append(line)
    return [_fold(lines) for lines in patterns.values() if len(lines) >= _FEWEST and _varies(lines)]


def without_library_frames(source: str) -> list[Edit]:
    """Return the edits that count the frames of libraries in stack traces; the innermost frame always stays."""
    lines = list(_lines(source))
    edits: list[Edit] = []
    for stack in _stacks(lines):
        outermost_first = _FRAME.match(lines[stack[0].start].text[:_READ], 0)
        innermost = stack[-1] if outermost_first and outermost_first["python"] else stack[0]
        for is_library, group in groupby(
            stack, key=lambda frame: frame is not innermost and _is_library(lines[frame.start].text)
        ):
            frames = list(group)
            if is_library and len(frames) >= _FEWEST_FRAMES:
                first, last = lines[frames[0].start], lines[frames[-1].stop - 1]
                edits.append(Edit(first.start, _text_end(last), f"  [… {len(frames)} library frames]"))
    return edits


def _lines(source: str) -> Iterator[_Line]:
    start = 0
    for text in source.split("\n"):
        yield _Line(start, min(start + len(text) + 1, len(source)), text.rstrip("\r"))
        start += len(text) + 1


def _terms(text: str) -> set[str]:
    """Return the words of a text, and its numbers and names as they stand; what is at 10:03:12 is at 10:03 too."""
    names = {each.strip(".:-/").lower() for each in _NAME.findall(text)}
    clocks = {each for match in _CLOCK.finditer(text) for each in match.group(0, 1)}
    return {word for word in words(text) if not word.isdigit()} | names | clocks


def _text_end(line: _Line) -> int:
    return line.start + len(line.text)


def _mask(match: re.Match[str]) -> str:
    return f"\x00{(match.lastgroup or '')[:1]}"


def _varies(lines: Sequence[_Line]) -> bool:
    return any(line.text != lines[0].text for line in lines)


def _fold(lines: Sequence[_Line]) -> list[Edit]:
    slots = [[match[0] for match in _SLOT.finditer(line.text)] for line in lines]
    varying = [values for values in zip(*slots, strict=True) if len(set(values)) > 1]
    told = ", ".join(_range(values) for values in varying[:_SAID]) + (", …" if len(varying) > _SAID else "")
    edits = [Edit(_text_end(lines[0]), lines[0].end, f" [×{len(lines)}: {told}]\n")]
    edits += (Edit(line.start, line.end, "") for line in lines[1:])
    return edits


def _range(values: Sequence[str]) -> str:
    """Return first and last of times and ids, least and most of numbers."""
    try:
        ordered = sorted(values, key=float)
    except ValueError:
        ordered = list(values)
    return f"{ordered[0]} – {ordered[-1]}"


def _stacks(lines: Sequence[_Line]) -> Iterator[list[range]]:
    """Yield the frames of each stack, outermost and innermost as they come, with the source lines below them."""
    stack: list[range] = []
    for number, line in enumerate(lines):
        if _FRAME.match(line.text[:_READ]):
            stack.append(range(number, number + 1))
        elif stack and line.text[:2] in {"  ", "\t"} and line.text.strip() and len(stack[-1]) < _FRAME_LINES:
            stack[-1] = range(stack[-1].start, number + 1)
        elif stack:
            yield stack
            stack = []
    if stack:
        yield stack


def _is_library(text: str) -> bool:
    frame = _FRAME.match(text[:_READ])
    place = next((part for part in frame.groups() if part), "") if frame else ""
    return bool(_LIBRARY.search(place) or _LIBRARY_CALL.match(text))
