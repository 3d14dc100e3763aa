"""Edits of a prompt, by offsets into it: what every step of the compression hands on, and what it can prove by them."""

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
    """Puts `text` in the place of input[start:end]; the offsets are those of the original input."""

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


def kept(length: int, edits: Iterable[Edit]) -> tuple[Span, ...]:
    """Return the spans of a text of that length which no edit touches; where text is only put in, two spans meet."""
    spans: list[Span] = []
    done = 0
    for edit in edits:
        if edit.start > done:
            spans.append((done, edit.start))
        done = edit.end
    if length > done:
        spans.append((done, length))
    return tuple(spans)


def merge(first: Sequence[Edit], second: Sequence[Edit]) -> tuple[Edit, ...]:
    """Return both lists as one; edits of the second that touch characters which the first replaces are dropped."""
    return tuple(sorted([*first, *apart(second, [(edit.start, edit.end) for edit in first])]))


def apart(edits: Iterable[Edit], spans: Sequence[Span]) -> list[Edit]:
    """Return the edits that share no character with any span, nor put text inside one; all sorted and apart."""
    free: list[Edit] = []
    at = 0
    for edit in edits:
        while at < len(spans) and spans[at][1] <= edit.start and spans[at] != (edit.start, edit.end):
            at += 1
        if at == len(spans) or (spans[at][0] >= edit.end and spans[at] != (edit.start, edit.end)):
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


def _texts(text: str, edits: Iterable[Edit]) -> Iterator[str]:
    done = 0
    for edit in edits:
        yield text[done : edit.start]
        yield edit.text
        done = edit.end
    yield text[done:]
