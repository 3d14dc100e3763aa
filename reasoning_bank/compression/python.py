"""Python source in a prompt: whether a text is some, its syntax tree, its comments."""

import ast
import io
import re
import threading
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from reasoning_bank.compression.edits import Span, joined
from reasoning_bank.compression.reading import KEPT_COMMENT, LARGEST_CODE, Reading

_STATEMENT: Final = re.compile(
    r"^[ \t]*(?:import \w|from [\w.]+ import |(?:async )?def \w+\(|class \w+.*:|@\w"
    r"|[A-Za-z_][\w.\[\]'\"]* ?(?::[^=\n]+)?= ?\S|(?:if|for|while|with|elif) .*:[ \t]*(?:#|$)"
    r"|(?:print|return|assert|raise)\b)",
    re.MULTILINE,
)
_DOCUMENTED: Final = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_WANTED: Final = re.compile(r"COMMENT|STRING$|STRING_START|STRING_END")
_LONE_RETURN: Final = re.compile(r"\r(?!\n)")
# The filters of warnings belong to the process.
_filters = threading.Lock()


def is_python(text: str) -> bool:
    """Return whether the text parses and has statements: a word of prose parses too."""
    if len(text) > LARGEST_CODE:
        return False
    statements = sum(1 for _ in zip(range(2), _STATEMENT.finditer(text), strict=False))
    return statements >= min(2, text.strip().count("\n") + 1) and python_tree(text) is not None


def python_tree(source: str) -> ast.Module | None:
    """Return the syntax tree of Python source, also of an indented fragment; None for all else."""
    if len(source) > LARGEST_CODE:
        return None
    # Warnings about escapes in someone else's code are none of ours.
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(_complete(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def read(source: str) -> Reading | None:
    """Return what the tokenizer and the parser say of a source; None for what does not parse."""
    tree = python_tree(source)
    # A lone carriage return ends a line for the parser only.
    if tree is None or _LONE_RETURN.search(source):
        return None
    lines = source.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    shift = 1 + _is_indented(source)
    try:
        tokens = [
            (tokenize.tok_name[token.type], starts[token.start[0] - shift] + token.start[1], token)
            for token in tokenize.generate_tokens(io.StringIO(_complete(source)).readline)
            if token.start[0] >= shift and _WANTED.search(tokenize.tok_name[token.type])
        ]
    except (tokenize.TokenError, SyntaxError):
        return None
    spans = [(name, start, starts[token.end[0] - shift] + token.end[1]) for name, start, token in tokens]
    comments = [
        (start, end) for name, start, end in spans if name == "COMMENT" and not KEPT_COMMENT.match(source[start:end])
    ]
    return Reading(comments, list(_docstrings(tree, lines, starts, shift=shift)), joined(_strings(spans)))


def _strings(spans: Sequence[tuple[str, int, int]]) -> Iterator[Span]:
    """Yield the strings, from Python 3.12 on also those that are several tokens."""
    opened: list[int] = []
    for name, start, end in spans:
        if name == "STRING":
            yield start, end
        elif name.endswith("STRING_START"):
            opened.append(start)
        elif name.endswith("STRING_END"):
            yield opened.pop(), end


def _docstrings(tree: ast.Module, lines: Sequence[str], starts: Sequence[int], *, shift: int) -> Iterator[Span]:
    """Yield docstrings that other statements follow: alone they are the body."""
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and len(node.body) > 1 and _is_docstring(node.body[0]):
            first = node.body[0]
            row, last = first.lineno - shift, (first.end_lineno or first.lineno) - shift
            # The parser counts bytes, the rest of us characters.
            column = len(lines[row].encode()[: first.col_offset].decode(errors="replace"))
            end = len(lines[last].encode()[: first.end_col_offset or 0].decode(errors="replace"))
            yield starts[row] + column, starts[last] + end


def meaning(source: str, *, documented: bool) -> object:
    """Return something equal for sources with the same tree, docstrings aside unless `documented`; None if broken."""
    tree = python_tree(source)
    if tree is None:
        return None
    for node in ast.walk(tree) if not documented else ():
        if isinstance(node, _DOCUMENTED) and len(node.body) > 1 and _is_docstring(node.body[0]):
            del node.body[0]
    try:
        return ast.dump(tree)
    except RecursionError:
        return None


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _complete(source: str) -> str:
    """Return the source; of an indented fragment as the body of a block, one line longer."""
    return f"if 1:\n{source}" if _is_indented(source) else source


def _is_indented(source: str) -> bool:
    """Return whether the first line that is not empty begins with a blank."""
    first = source.lstrip(" \t\r\n\f")
    return bool(first) and source[: len(source) - len(first)][-1:] in {" ", "\t"}
