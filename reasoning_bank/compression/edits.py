"""Edits of a prompt, by offsets into it: what every step of the compression hands on, and what it can prove by them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Span = tuple[int, int]
"""A [start, end) range of offsets."""

Kind = Literal[
    "prose",
    "code",
    "log",
    "trace",
    "json",
    "yaml",
    "csv",
    "diff",
    "table",
    "chat",
    "memories",
    "instruction",
]
"""What a stretch of a prompt is. A trace is a stack trace; an instruction is text that says what to do."""


class Edit(NamedTuple):
    """Puts `text` in the place of input[start:end], at least one character; offsets are those of the original."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one kind; the segments of a text cover it without gaps.

    Attributes:
        start: offset of the first character; of a fence, its opening line.
        end: offset behind the last character; of a fence, behind its closing line.
        language: of code, where it is known: "python", "javascript", ...; None otherwise.
        is_fenced: stands between two fence lines, which belong to it.
        is_protected: stays unless the caller cannot afford it.
        body: what stands between the fence lines; the whole segment where there are none.
    """

    start: int
    end: int
    kind: Kind
    language: str | None = None
    is_fenced: bool = False
    is_protected: bool = False
    body: Span = (0, 0)

    def __post_init__(self) -> None:
        if not self.is_fenced:
            object.__setattr__(self, "body", (self.start, self.end))


@dataclass(frozen=True, slots=True)
class Step:
    """Edits of one kind, sorted and apart.

    Attributes:
        name: "json_minify", "comments", ...: what the answer calls it.
        is_lossless: what a reader needs is still there.
        needs_rule: the form changed: a reader needs a rule to read it back, and a parser would stumble.
    """

    name: str
    edits: tuple[Edit, ...]
    is_lossless: bool = True
    needs_rule: bool = False


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with all edits made."""
    return "".join(_texts(text, edits))


def merge(first: Sequence[Edit], second: Sequence[Edit]) -> tuple[Edit, ...]:
    """Return both lists as one; edits of the second that touch characters which the first replaces are dropped."""
    return tuple(sorted([*first, *apart(second, [(edit.start, edit.end) for edit in first])]))


def apart(edits: Iterable[Edit], spans: Sequence[Span]) -> list[Edit]:
    """Return the edits that share no character with any span; all sorted and apart."""
    free: list[Edit] = []
    at = 0
    for edit in edits:
        while at < len(spans) and spans[at][1] <= edit.start:
            at += 1
        if at == len(spans) or spans[at][0] >= edit.end:
            free.append(edit)
    return free


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return the spans sorted, those that overlap or meet as one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif start < end:
            found.append((start, end))
    return found


class Rebased(NamedTuple):
    """An edit of a result as an edit of the original.

    Attributes:
        edit: what it is there.
        replaced: which of the first edits it takes the place of, since it changes text that they put in.
        number: its place among the second edits.
    """

    edit: Edit
    replaced: range
    number: int


def rebase(first: Sequence[Edit], second: Iterable[Edit]) -> list[Rebased]:
    """Return the second edits, made on the result of the first, as edits of the original."""
    places = _placed(first)
    found: list[Rebased] = []
    last: Edit | None = None
    for number, edit in enumerate(second):
        touched = places.touched(edit)
        if last and touched and found[-1].replaced and found[-1].replaced[-1] == touched[0]:
            # Both change what one of the first put in: they become one edit.
            inserted, at = first[touched[0]].text, places.starts[touched[0]]
            last = Edit(last.start, edit.end, last.text + inserted[last.end - at : edit.start - at] + edit.text)
            found.pop()
        else:
            last = edit
        found.append(Rebased(*places.rebased(first, last), number))
    return found


def moved(spans: Iterable[Span], edits: Sequence[Edit]) -> list[Span]:
    """Return where spans that no edit touches are in the result."""
    places = _placed(edits)
    starts = [edit.start for edit in edits]
    shifts = [0, *places.shifts]
    return [(start + shifts[at], end + shifts[at]) for start, end in spans for at in (bisect_right(starts, start),)]


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the text of each edit starts and ends in the result, and by how much the result is shifted behind it."""

    starts: list[int]
    ends: list[int]
    shifts: list[int]

    def touched(self, edit: Edit) -> range:
        # Edits that end at or before the start are passed; those that begin at or behind the end are not reached.
        low = bisect_right(self.ends, edit.start)
        return range(low, max(bisect_left(self.starts, edit.end), low))

    def rebased(self, first: Sequence[Edit], edit: Edit) -> tuple[Edit, range]:
        touched = self.touched(edit)
        low, high = touched.start, touched.stop
        start = edit.start - (self.shifts[low - 1] if low else 0)
        end = edit.end - (self.shifts[high - 1] if high else 0)
        text = edit.text
        if touched and self.starts[low] < edit.start:
            start, text = first[low].start, first[low].text[: edit.start - self.starts[low]] + text
        if touched and self.ends[high - 1] > edit.end:
            end, text = first[high - 1].end, text + first[high - 1].text[edit.end - self.starts[high - 1] :]
        return Edit(start, end, text), touched


def _placed(edits: Sequence[Edit]) -> _Places:
    places = _Places([], [], [])
    shift = 0
    for edit in edits:
        places.starts.append(edit.start + shift)
        places.ends.append(edit.start + shift + len(edit.text))
        shift += len(edit.text) - (edit.end - edit.start)
        places.shifts.append(shift)
    return places


def _texts(text: str, edits: Iterable[Edit]) -> Iterator[str]:
    done = 0
    for edit in edits:
        yield text[done : edit.start]
        yield edit.text
        done = edit.end
    yield text[done:]
