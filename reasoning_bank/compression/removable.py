"""Blanks that carry no meaning: at the ends of prose lines, and runs of empty lines outside code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from reasoning_bank.compression.layout import Region, Span, regions

# Blanks mean something inside string literals, here-documents and diffs, which only code has.
_CODE: Final = re.compile(r'"""|\'\'\'|<<-?["\']?[A-Z]{2}|^(?:@@ -\d|diff --git |--- a/)', re.MULTILINE)
_CODE_LINE: Final = re.compile(
    r"^(?:[ \t]{2,}(?![-*+•\d ])|\t|(?:def|class|import|from|func|fn|let|const|var|if|for|while|return|public|#include)"
    r"\b.*[;{:(]$)|[;{}]$"
)
_CODE_SHARE: Final = 0.2
_JUDGED_LINES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Blanks:
    """Spans that can go without loss, by kind; sorted, apart, the two kinds never overlap."""

    trailing: tuple[Span, ...]
    empty_lines: tuple[Span, ...]


def removable_blanks(text: str) -> Blanks:
    """Return the blanks at line ends and the empty lines beyond the first of a run, outside code."""
    trailing: list[Span] = []
    empty: list[Span] = []
    for region in regions(text):
        if not region.fenced and not _looks_like_code(text, region):
            for span, is_line in _blanks(text, region):
                if is_line and empty and empty[-1][1] == span[0]:
                    empty[-1] = (empty[-1][0], span[1])
                else:
                    (empty if is_line else trailing).append(span)
    return Blanks(tuple(trailing), tuple(empty))


def _looks_like_code(text: str, region: Region) -> bool:
    if _CODE.search(text, region.start, region.end):
        return True
    lines = (line.rstrip() for line in text[region.start : region.end].split("\n"))
    # Only filled lines are judged: taking empty ones out must not change the judgement.
    filled = list(islice(filter(None, lines), _JUDGED_LINES))
    return sum(bool(_CODE_LINE.search(line[:200])) for line in filled) > _CODE_SHARE * len(filled)


def _blanks(text: str, region: Region) -> Iterator[tuple[Span, bool]]:
    """Yield spans to remove, with True for an empty line and False for blanks at the end of a line."""
    start, empty_before = region.start, 0
    for line in text[region.start : region.end].split("\n"):
        end = start + len(line)
        body = line.rstrip("\r")
        kept = body.rstrip(" \t")
        if not kept:
            empty_before += 1
            if empty_before > 1 and end < region.end:
                yield (start, end + 1), True
            elif body:
                yield (start, start + len(body)), False
        else:
            empty_before = 0
            # A tab inside the line makes its last tabs empty cells of a table.
            if len(kept) < len(body) and "\t" not in kept:
                yield (start + len(kept), start + len(body)), False
        start = end + 1
