"""Blanks that carry no meaning: at the ends of lines of prose and logs, and runs of empty lines."""

import re
from typing import Final

from reasoning_bank.compression.edits import Edit

# Blanks mean something inside string literals and here-documents, which may stand in the open.
_CODE: Final = re.compile(r"\"{3}|'{3}|<<-?[\"']?[A-Z]{2}")
_EMPTY_LINES: Final = re.compile(r"\n(?P<first>[ \t]*\r?\n)(?:[ \t]*\r?\n)+")


def at_line_ends(source: str) -> list[Edit]:
    """Return the edits that take out the blanks at the ends of whole lines."""
    if _CODE.search(source):
        return []
    edits: list[Edit] = []
    start = 0
    # What stands behind the last line end goes on in the next segment.
    for line in source.split("\n")[:-1]:
        body = line.rstrip("\r")
        lean = body.rstrip(" \t")
        # A tab inside the line makes its last tabs empty cells of a table.
        if len(lean) < len(body) and "\t" not in lean:
            edits.append(Edit(start + len(lean), start + len(body), ""))
        start += len(line) + 1
    return edits


def empty_lines(source: str) -> list[Edit]:
    """Return the edits that leave one of several empty lines in a row."""
    if _CODE.search(source):
        return []
    return [Edit(match.end("first"), match.end(), "") for match in _EMPTY_LINES.finditer(source)]
