"""A prompt as segments of one kind each: fences, JSON, code, logs, chats, instructions, prose."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

from reasoning_bank.compression.edits import Kind, Segment, Span
from reasoning_bank.compression.instructions import instructions
from reasoning_bank.compression.lines import runs
from reasoning_bank.compression.python import is_python
from reasoning_bank.compression.structured import BYTE_ORDER_MARK

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_LANGUAGES: Final[dict[str, str]] = {
    "py": "python", "python3": "python", "pyi": "python", "js": "javascript", "jsx": "javascript", "mjs": "javascript",
    "node": "javascript", "ts": "typescript", "golang": "go", "rs": "rust", "c++": "cpp", "cc": "cpp", "hpp": "cpp",
    "h": "c", "sh": "bash", "shell": "bash", "zsh": "bash", "yml": "yaml", "json5": "jsonc", "ndjson": "json",
    "jsonl": "json", "patch": "diff", "tsv": "csv", "logs": "log", "console": "log", "text": "", "txt": "",
    "plaintext": "", "output": "log", "traceback": "trace", "pytb": "trace", "md": "prose", "markdown": "prose",
}  # fmt: skip
_KINDS: Final[dict[str, Kind]] = {
    "json": "json", "yaml": "yaml", "csv": "csv", "diff": "diff", "log": "log", "trace": "trace", "prose": "prose",
}  # fmt: skip
_JSON_START: Final = re.compile(
    r"^(?P<label>[A-Za-z][\w ]{0,40}: ?)?[ \t]*"
    r"(?P<value>\{\s*[\"}]|\[\s*(?:[\[{\"\]]|-?\d[\d.eE+-]*\s*,|(?:true|false|null)\b))",
    re.MULTILINE,
)
_SHORTEST_JSON: Final = 20
_MOST_BROKEN_JSON: Final = 500
"""Values that may be broken before no more JSON is looked for: each failure costs a walk over the whole text."""

_FEW_INSTRUCTIONS: Final = 400
"""Characters of instructions that are protected however little else there is."""
_MOST_INSTRUCTIONS: Final = 0.3
"""Share of the prose that instructions may be: where all is instruction, protecting it means nothing."""

_MEMORIES: Final = re.compile(
    r"^(?:Memories of earlier tasks|<memor(?:y|ies)\b|#+ (?:\w+ )?memor(?:y|ies)\b.*\n\s*(?=\d+\. |[-*#<])"
    r"|(?:Relevant|Retrieved) memor(?:y|ies)\b)",
    re.MULTILINE | re.IGNORECASE,
)
_MEMORY: Final = re.compile(r"\s*(?:\d+\. .*\[id |#+ memory\b|<memory\b|- \[?id\b)", re.IGNORECASE)


def segments(text: str) -> tuple[Segment, ...]:
    """Return the segments of a text, in order, without gaps; takes time by its length.

    A text that is one JSON document, one Python file or one diff is one segment. Else the fences of its Markdown are
    found first, JSON values that start a line second, and the lines left are judged by their look. Instructions
    (a question at either end, what is said to "you", headed rules) are protected unless there is little else.
    """
    if not text:
        return ()
    whole = _whole(text)
    if whole:
        return (whole,)
    found: list[Segment] = []
    done = 0
    for fence in _fences(text):
        found += _open(text, done, fence.start)
        found.append(fence)
        done = fence.end
    found += _open(text, done, len(text))
    return tuple(_with_instructions(text, found))


def language_of(tag: str) -> str:
    """Return the name of the language that a fence's tag means, "" where it means none."""
    name = re.split(r"[\s{,:]", tag.strip().strip("{}.").lower(), maxsplit=1)[0]
    return _LANGUAGES.get(name, name)


def _whole(text: str) -> Segment | None:
    """Return the one segment of a text that is one document."""
    start = text.removeprefix(BYTE_ORDER_MARK).lstrip()[:1]
    if start and start in "{[" and _is_json(text):
        return Segment(0, len(text), "json")
    if is_python(text):
        return Segment(0, len(text), "code", "python")
    return None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text.removeprefix(BYTE_ORDER_MARK)), dict | list)
    except (ValueError, RecursionError):
        return False


def _fences(text: str) -> Iterator[Segment]:
    """Yield the fences of the Markdown, also those within lists and quotes; an open one goes to the end."""
    if "```" not in text and "~~~" not in text:
        return
    # Same length, so that lines keep their offsets.
    plain = text.replace("\r\n", " \n").replace("\r", " ")
    starts = [0, *accumulate(len(line) + 1 for line in plain.split("\n"))]
    done = 0
    for token in _parser().parse(plain):
        if token.type != "fence" or token.map is None:
            continue
        first, last = token.map
        start, end = starts[first], min(starts[last], len(text))
        opening = min(starts[first + 1], end)
        closing = starts[last - 1] if last - 1 > first and _closes(plain[starts[last - 1] : end], token.markup) else end
        if start >= done:
            yield _fenced(text, (start, end), (opening, closing), token.info)
            done = end


def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # noqa: PLC0415 -- 50 ms that only a prompt with fences costs

    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["block"])
    parser.block.ruler.enableOnly(["fence", "blockquote", "list", "paragraph"])
    return parser


def _closes(line: str, markup: str) -> bool:
    mark = line.strip().lstrip("> \t")
    return len(mark) >= len(markup) and set(mark) == set(markup)


def _fenced(text: str, span: Span, body: Span, tag: str) -> Segment:
    language = language_of(tag)
    inside = text[slice(*body)]
    kind: Kind = _KINDS.get(language, "code")
    if language == "":
        kind, language = _guessed(inside)
    return Segment(*span, kind, language if kind == "code" and language else None, is_fenced=True, body=body)


def _guessed(inside: str) -> tuple[Kind, str]:
    """Return kind and language of a fence without a tag: text only where it looks like a log, a diff, a table."""
    if inside.strip()[:1] in {"{", "["} and _is_json(inside):
        return "json", ""
    if is_python(inside):
        return "code", "python"
    kinds: list[Kind] = [run.kind for run in runs(inside.split("\n"))]
    if len(kinds) == 1 and kinds[0] not in {"prose", "yaml", "chat"}:
        return kinds[0], ""
    return "code", ""


def _open(text: str, start: int, end: int) -> Iterator[Segment]:
    """Yield the segments of a stretch without fences: JSON values, and what lies between them."""
    done = start
    for first, last in _json_values(text, start, end):
        yield from _judged(text, done, first)
        yield Segment(first, last, "json")
        done = last
    yield from _judged(text, done, end)


def _json_values(text: str, start: int, end: int) -> Iterator[Span]:
    decoder, done, broken = json.JSONDecoder(), start, 0
    inside: Span | None = None
    for match in _JSON_START.finditer(text, start, end):
        first = match.start("value")
        if first < done or broken > _MOST_BROKEN_JSON:
            continue
        last = _value_end(decoder, text, first)
        if last < 0:
            broken, done = broken + 1, max(done, -last)
            continue
        rest = text.find("\n", last, end)
        rest = end if rest < 0 else rest + 1
        if last > end or text[last:rest].strip() or last - first < _SHORTEST_JSON:
            continue
        done = rest
        if inside and inside[1] == first:
            inside = (inside[0], rest)
            continue
        if inside:
            yield inside
        inside = (first, rest)
    if inside:
        yield inside


def _value_end(decoder: json.JSONDecoder, text: str, first: int) -> int:
    """Return where a value ends, or the negated place up to where it was read in vain."""
    try:
        return _decoded(decoder, text, first)[1]
    except json.JSONDecodeError as error:
        return -max(error.pos, first + 1)
    except (ValueError, RecursionError):
        return -(first + 1)


def _decoded(decoder: json.JSONDecoder, text: str, first: int) -> tuple[Any, int]:
    return decoder.raw_decode(text, first)


def _judged(text: str, start: int, end: int) -> Iterator[Segment]:
    if start >= end:
        return
    lines = text[start:end].split("\n")
    starts = [start, *accumulate((len(line) + 1 for line in lines), initial=start)][1:]
    starts[-1] = end
    for run in runs(lines):
        first, last = starts[run.first], starts[run.last]
        if first < last:
            yield from _named(text, Segment(first, last, run.kind))


def _named(text: str, segment: Segment) -> Iterator[Segment]:
    """Yield the segment with its language, or prose with the memories in it apart."""
    stretch = text[segment.start : segment.end]
    if segment.kind == "code" and is_python(stretch):
        yield Segment(segment.start, segment.end, "code", "python")
        return
    heading = _MEMORIES.search(stretch) if segment.kind == "prose" else None
    if heading is None:
        yield segment
        return
    start, end = segment.start + heading.start(), segment.start + _memories_end(stretch, heading.start())
    parts: Sequence[tuple[int, int, Kind]] = (
        (segment.start, start, "prose"),
        (start, end, "memories"),
        (end, segment.end, "prose"),
    )
    yield from (Segment(first, last, kind) for first, last, kind in parts if first < last)


def _memories_end(stretch: str, start: int) -> int:
    """Return where the last memory of a block ends: an empty line that no memory follows."""
    close = re.compile(r"</memor(?:y|ies)>[ \t]*\n?", re.IGNORECASE).search(stretch, start)
    if close and stretch[start] == "<":
        return close.end()
    end = len(stretch)
    for gap in re.finditer(r"\n[ \t]*\n+", stretch[start:]):
        after = start + gap.end()
        if not _MEMORY.match(stretch[after : after + 200]) and stretch[start : start + gap.start()].count("\n") > 0:
            return after
    return end


def _with_instructions(text: str, found: Sequence[Segment]) -> Iterator[Segment]:
    """Yield the segments, the instructions among the prose as segments of their own."""
    prose = [segment for segment in found if segment.kind == "prose" and not segment.is_fenced]
    spans = {segment.start: list(instructions(text, segment)) for segment in prose}
    length = sum(last - first for each in spans.values() for first, last in each)
    protect = length <= max(_MOST_INSTRUCTIONS * sum(each.end - each.start for each in prose), _FEW_INSTRUCTIONS)
    for segment in found:
        inside = spans.get(segment.start, []) if segment.kind == "prose" and not segment.is_fenced else []
        edges = [segment.start, *(edge for span in inside for edge in span), segment.end]
        if not inside:
            yield segment
            continue
        for number, (first, last) in enumerate(pairwise(edges)):
            if first < last:
                is_instruction = number % 2 == 1
                kind: Kind = "instruction" if is_instruction else "prose"
                yield Segment(first, last, kind, is_protected=is_instruction and protect)
