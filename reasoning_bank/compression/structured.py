"""JSON, CSV and tables in fewer tokens, equal by value.

Values are never written anew: only what stands between them changes. So numbers keep their digits, objects their
repeated keys and their order, and NaN and -0 stay what they were.
"""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from reasoning_bank.compression.edits import Edit, Span, apply

_TOKEN: Final = re.compile(
    r'(?P<text>"(?:[^"\\]|\\.)*")|(?P<open>[{\[])|(?P<close>[}\]])|(?P<mark>[,:])'
    r"|(?P<blank>[ \t\n\r]+)|(?P<word>[-+.\w]+)"
)
_BLANK_OR_TEXT: Final = re.compile(r'"[^"\\]*(?:"|(?P<escaped>(?:\\.[^"\\]*)+"))|(?P<blank>[ \t\n\r]+)')
BYTE_ORDER_MARK: Final = "\ufeff"
"""What some editors put in front of a file; it stays there."""
_BLANKS: Final = re.compile(rf"[ \t\n\r{BYTE_ORDER_MARK}]*")
# A pair of halves, or one character; halves alone, controls and what is not printed keep their escapes.
_ESCAPE: Final = re.compile(
    r"\\(?:(?P<slash>/)|u(?P<high>[dD][89abAB]\w\w)\\u(?P<low>[dD][c-fC-F]\w\w)|u(?P<code>\w{4})|[^u/])"
)
_FEWEST_ROWS: Final = 3
_RULE: Final = re.compile(r"^[ \t]*\|?(?:[ \t]*:?-+:?[ \t]*\|)+(?:[ \t]*:?-+:?[ \t]*)?$", re.MULTILINE)
_DASHES: Final = re.compile(r"-{2,}")
_PADDING: Final = re.compile(r"(?<=\|)[ \t]{2,}|(?<=[^\s|])[ \t]{2,}(?=\|)")
_CELLS: Final = re.compile(r"(?<!\\)\|")
_QUOTED: Final = re.compile(r'(?:^|(?<=[,;\t]))"(?P<inside>[^"\n\r,;\t]+)"(?=[,;\t\r]|$)', re.MULTILINE)
_SAYS_TYPE: Final = re.compile(r"\s|.*\s$|[-+.\d#]|(?:nan|inf|true|false|null|none|yes|no|n/?a)$", re.IGNORECASE)
_DELIMITERS: Final = (",", ";", "\t")


class _Token(NamedTuple):
    start: int
    end: int
    kind: str


def minified(source: str) -> list[Edit]:
    """Return the edits that take the blanks and the needless escapes out of JSON values that follow one another.

    Args:
        source: one or more whole JSON values.

    Returns:
        None at all where the text is not JSON, or would not be equal by value.
    """
    values = _values(source)
    if not values:
        return []
    edits: list[Edit] = []
    for _, span in values:
        for match in _BLANK_OR_TEXT.finditer(source, *span):
            if match.lastgroup == "blank":
                edits.append(Edit(*match.span(), ""))
            elif match.lastgroup == "escaped":
                edits += _unescaped(source, match.span())
    after = _values(apply(source, edits)) if edits else []
    return edits if [value for value, _ in after] == [value for value, _ in values] else []


def tabled(source: str) -> list[list[Edit]]:
    """Return, for each uniform array, the edits that say its keys once: {"columns":[...],"rows":[[...],...]}.

    The result is JSON of another shape: whoever reads it needs to know the rule. What is in the rows stays.
    """
    if not _values(source):
        return []
    tokens = [token for token in _tokens(source) if token.kind != "blank"]
    ends = _ends(tokens)
    found: list[list[Edit]] = []
    at = 0
    while at < len(tokens):
        rows = _rows(source, tokens, ends, at) if source[tokens[at].start] == "[" else []
        if rows:
            found.append(_table(source, rows, (tokens[at].start, tokens[ends[at]].end)))
            at = ends[at]
        at += 1
    return found


def unpadded(source: str) -> list[Edit]:
    """Return the edits that take the padding out of the cells of a Markdown table, and all but one dash of its rule."""
    edits = [Edit(*match.span(), " ") for match in _PADDING.finditer(source)]
    for rule in _RULE.finditer(source):
        edits += (Edit(*match.span(), "-") for match in _DASHES.finditer(source, *rule.span()))
    edits.sort()
    return edits if _cells(apply(source, edits)) == _cells(source) else []


def unquoted(source: str) -> list[Edit]:
    """Return the edits that take the quotes off fields of separated values which need none and are no numbers."""
    edits: list[Edit] = []
    for match in _QUOTED.finditer(source):
        if not _SAYS_TYPE.match(match["inside"]):
            edits += (Edit(match.start(), match.start() + 1, ""), Edit(match.end() - 1, match.end(), ""))
    after = apply(source, edits)
    same = all(_fields(source, mark) == _fields(after, mark) for mark in _DELIMITERS if mark in source)
    return edits if same else []


def _tokens(source: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(source):
        yield _Token(match.start(), match.end(), match.lastgroup or "")


def _values(source: str) -> list[tuple[Any, Span]]:
    """Return values with what a plain parse hides, repeated keys and all digits, and where they stand; [] if broken."""
    decoder = json.JSONDecoder(
        object_pairs_hook=lambda pairs: ("object", pairs),
        parse_int=lambda digits: ("number", digits),
        parse_float=lambda digits: ("number", digits),
        parse_constant=lambda name: ("constant", name),
    )
    found: list[tuple[Any, Span]] = []
    at = blanks_end(source, 0)
    try:
        while at < len(source):
            value, end = decoder.raw_decode(source, at)
            found.append((value, (at, end)))
            at = blanks_end(source, end)
            if at < len(source) and "\n" not in source[end:at]:
                return []
    except (ValueError, RecursionError):
        return []
    return found


def blanks_end(source: str, at: int) -> int:
    """Return where the blanks of JSON end that start at a place."""
    blanks = _BLANKS.match(source, at)
    return blanks.end() if blanks else at


def _unescaped(source: str, span: Span) -> Iterator[Edit]:
    for match in _ESCAPE.finditer(source, source.find("\\", *span), span[1] - 1):
        plain = _plain(match)
        if plain:
            yield Edit(*match.span(), plain)


def _plain(match: re.Match[str]) -> str:
    """Return the character that an escape means, "" where the escape has to stay."""
    if match["slash"]:
        return "/"
    try:
        if match["high"]:
            high, low = int(match["high"], 16), int(match["low"], 16)
            sign = chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
        else:
            sign = chr(int(match["code"] or "0", 16))
    except ValueError:
        return ""
    return sign if sign.isprintable() and sign not in '"\\' and not "\ud800" <= sign <= "\udfff" else ""


def _ends(tokens: Sequence[_Token]) -> dict[int, int]:
    """Return for each opening bracket the place of the one that closes it."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for at, token in enumerate(tokens):
        if token.kind == "open":
            opened.append(at)
        elif token.kind == "close":
            ends[opened.pop()] = at
    return ends


def _rows(source: str, tokens: Sequence[_Token], ends: dict[int, int], opening: int) -> list[dict[str, Span]]:
    """Return the rows of an array of objects that all have the same keys; nothing for any other array."""
    rows: list[dict[str, Span]] = []
    at = opening + 1
    while at < ends[opening]:
        if source[tokens[at].start] != "{":
            return []
        row = _row(source, tokens, ends, at)
        if not row or (rows and list(row) != list(rows[0])):
            return []
        rows.append(row)
        at = ends[at] + 2
    return rows if len(rows) >= _FEWEST_ROWS else []


def _row(source: str, tokens: Sequence[_Token], ends: dict[int, int], opening: int) -> dict[str, Span]:
    """Return keys as they stand with the spans of their values; nothing where a key is repeated."""
    row: dict[str, Span] = {}
    at = opening + 1
    while at < ends[opening]:
        key = source[tokens[at].start : tokens[at].end]
        first = at + 2
        last = ends.get(first, first)
        if key in row:
            return {}
        row[key] = tokens[first].start, tokens[last].end
        at = last + 2
    return row


def _table(source: str, rows: Sequence[dict[str, Span]], array: Span) -> list[Edit]:
    spans = [span for row in rows for span in row.values()]
    width = len(rows[0])
    columns = ",".join(rows[0])
    edits = [Edit(array[0], spans[0][0], f'{{"columns":[{columns}],"rows":[[')]
    for number, (before, after) in enumerate(pairwise(spans), start=1):
        between = "," if number % width else "],["
        if source[before[1] : after[0]] != between:
            edits.append(Edit(before[1], after[0], between))
    return [*edits, Edit(spans[-1][1], array[1], "]]}")]


def _cells(source: str) -> list[list[str]]:
    return [
        [re.sub(r"-+", "-", cell.strip()) if _RULE.match(line) else cell.strip() for cell in _CELLS.split(line)]
        for line in source.split("\n")
    ]


def _fields(source: str, delimiter: str) -> list[list[str]] | None:
    try:
        return list(csv.reader(source.split("\n"), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
