"""Code without comments and blank lines, and with the same syntax tree; a language without a parser stays as it is."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from reasoning_bank.compression import grammars, python
from reasoning_bank.compression.edits import Edit, Span, apart, apply
from reasoning_bank.compression.reading import KEPT_COMMENT, LARGEST_CODE, Reading

_BLANK_LINE: Final = re.compile(r"^[ \t\f]*\r?\n", re.MULTILINE)
_MOST: Final = 0.6
_YAML_COMMENT: Final = re.compile(r"(?:(?<=\s)|^)#[^\r\n]*", re.MULTILINE)
_LARGEST_YAML: Final = 100_000
"""Characters of YAML that is still parsed: without its C library the parser takes a second for them."""


_Choice = Callable[[Reading], Sequence[Span]]


def without_comments(source: str, language: str, keeping: Sequence[Span] = ()) -> list[Edit]:
    """Return the edits that take out the comments, except those that tools or laws read.

    Args:
        source: code, whole or a fragment that parses.
        language: "python", "javascript", "typescript", "java", "go", "rust", "c", "cpp", "bash" or "yaml".
        keeping: spans of the source that must not be touched.

    Returns:
        None at all where the language is not known, or the tree would not be the same.
    """
    return _lean(source, language, keeping, removed=_comments)


def without_documentation(source: str, language: str, keeping: Sequence[Span] = ()) -> list[Edit]:
    """Return the edits that take out docstrings and documentation comments; see `without_comments`."""
    return _lean(source, language, keeping, removed=_documentation)


def without_blank_lines(source: str, language: str, keeping: Sequence[Span] = ()) -> list[Edit]:
    """Return the edits that take out empty lines, but none within a string; see `without_comments`."""
    return _lean(source, language, keeping, removed=None)


def is_same(before: str, after: str, language: str, *, documented: bool = True) -> bool:
    """Return whether two sources have the same syntax tree, comments aside, and documentation unless `documented`."""
    meant = _meaning(before, language, documented=documented)
    return meant is not None and meant == _meaning(after, language, documented=documented)


def _comments(reading: Reading) -> Sequence[Span]:
    return reading.comments


def _documentation(reading: Reading) -> Sequence[Span]:
    return reading.documentation


def _lean(source: str, language: str, keeping: Sequence[Span], *, removed: _Choice | None) -> list[Edit]:
    reading = _read(source, language)
    if reading is None:
        return []
    if removed is None:
        lines = [Edit(*match.span(), "") for match in _BLANK_LINE.finditer(source)]
        edits = apart(lines, reading.solid)
    else:
        edits = _joined([_around(source, span) for span in sorted(removed(reading))])
    edits = apart(edits, keeping)
    if removed is _comments and _is_most(source, edits):
        return []
    same = edits and is_same(source, apply(source, edits), language, documented=removed is not _documentation)
    return edits if same else []


def _is_most(source: str, edits: Sequence[Edit]) -> bool:
    """Return whether the edits take out most of what is there: then the comments are what the text is about."""
    gone = sum(len(source[edit.start : edit.end].strip()) for edit in edits)
    return gone > _MOST * len(source.strip())


def _joined(edits: Sequence[Edit]) -> list[Edit]:
    """Return the edits, those that overlap as one: two comments on a line, with the blanks between them."""
    found: list[Edit] = []
    for edit in edits:
        if found and edit.start < found[-1].end:
            found[-1] = Edit(found[-1].start, max(edit.end, found[-1].end), edit.text)
        else:
            found.append(edit)
    return found


def _around(source: str, span: Span) -> Edit:
    """Return the edit that takes out a comment, with its line where it stands alone."""
    start, end = span
    first = source.rfind("\n", 0, start) + 1
    last = source.find("\n", end)
    last = len(source) if last < 0 else last
    before, after = source[first:start], source[end:last]
    if not after.strip():
        if not before.strip():
            return Edit(first, min(last + 1, len(source)), "")
        return Edit(start - (len(before) - len(before.rstrip())), last - after.endswith("\r"), "")
    if "\n" in source[start:end]:
        # In some languages a line end within a comment ends the statement.
        return Edit(start, end, "\n")
    if before[-1:].strip() and after[:1].strip():
        return Edit(start, end, " ")
    return Edit(start, end + (len(after) - len(after.lstrip(" ")) if not before[-1:].strip() else 0), "")


def _read(source: str, language: str) -> Reading | None:
    if len(source) > LARGEST_CODE:
        return None
    if language == "python":
        return python.read(source)
    if language == "yaml":
        return _read_yaml(source)
    grammar = grammars.grammar(language)
    return grammars.read(source, grammar) if grammar else None


def _meaning(source: str, language: str, *, documented: bool) -> object:
    """Return something equal for sources that mean the same, None for what does not parse."""
    if language == "python":
        return python.meaning(source, documented=documented)
    if language == "yaml":
        return _yaml_meaning(source)
    grammar = grammars.grammar(language)
    return grammars.meaning(source, grammar, documented=documented) if grammar else None


def _read_yaml(source: str) -> Reading | None:
    if len(source) > _LARGEST_YAML or _yaml_meaning(source) is None:
        return None
    yaml = _yaml()
    comments: list[Span] = []
    solid: list[Span] = []
    done = 0
    for token in yaml.scan(source, Loader=yaml.SafeLoader):
        start, end = int(token.start_mark.index), int(token.end_mark.index)
        found = [match for match in _YAML_COMMENT.finditer(source, done, start) if not KEPT_COMMENT.match(match[0])]
        comments += [match.span() for match in found]
        if "\n" in source[start:end]:
            solid.append((start, end))
        done = max(done, end)
    return Reading(comments, [], solid)


def _yaml_meaning(source: str) -> object:
    yaml = _yaml()
    try:
        return [
            (type(event).__name__, *(getattr(event, name, None) for name in ("value", "tag", "anchor")))
            for event in yaml.parse(source, Loader=yaml.SafeLoader)
        ]
    except (yaml.YAMLError, RecursionError, ValueError):
        return None


def _yaml() -> Any:
    import yaml  # noqa: PLC0415 -- 30 ms that only YAML costs

    return yaml
