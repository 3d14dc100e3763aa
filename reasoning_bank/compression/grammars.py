"""Languages with a tree-sitter grammar: comments, tokens that span lines, and what a source means."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from reasoning_bank.compression.edits import Span, joined
from reasoning_bank.compression.reading import KEPT_COMMENT, Reading

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Tree

_LITERAL: Final = re.compile(r"string|heredoc|template|raw|char|text")
_DOCUMENTATION: Final = re.compile(r"/\*\*[^/]|///[^/]|//!|/\*!")


def read(source: str, language: "Language") -> Reading | None:
    """Return what the grammar says of a source; None for what does not parse."""
    data = source.encode("utf-8", "replace")
    tree = _parse(data, language)
    if tree.root_node.has_error:
        return None
    comments: list[Span] = []
    documentation: list[Span] = []
    solid: list[Span] = []
    for node, _ in _nodes(tree):
        text = data[node.start_byte : node.end_byte].decode("utf-8", "replace") if "comment" in node.type else ""
        if text:
            # The grammar of Rust counts the line end to the comment.
            span = node.start_byte, node.start_byte + len(text.rstrip().encode("utf-8", "replace"))
            if _DOCUMENTATION.match(text):
                documentation.append(span)
            elif not KEPT_COMMENT.match(text):
                comments.append(span)
        elif node.start_point.row < node.end_point.row and (not node.child_count or _LITERAL.search(node.type)):
            solid.append((node.start_byte, node.end_byte))
    if len(data) == len(source):
        return Reading(comments, documentation, joined(solid))
    places = _characters(data, [*comments, *documentation, *solid])
    found = [[(places[start], places[end]) for start, end in spans] for spans in (comments, documentation, solid)]
    return Reading(found[0], found[1], joined(found[2]))


def meaning(source: str, language: "Language", *, documented: bool) -> object:
    """Return something equal for sources with the same tree, comments aside; None for what does not parse."""
    data = source.encode("utf-8", "replace")
    tree = _parse(data, language)
    if tree.root_node.has_error:
        return None
    digest = hashlib.sha256()
    for node, depth in _nodes(tree):
        leaf = b"" if node.child_count else data[node.start_byte : node.end_byte]
        if "comment" not in node.type or (documented and _DOCUMENTATION.match(leaf.decode("utf-8", "replace"))):
            digest.update(f"{depth} {node.type} ".encode() + leaf + b"\0")
    return digest.digest()


def _parse(data: bytes, language: "Language") -> "Tree":
    from tree_sitter import Parser  # noqa: PLC0415 -- a C library that only such code needs

    # A parser is not for two threads at once.
    return Parser(language).parse(data)


def _nodes(tree: "Tree") -> Iterator[tuple["Node", int]]:
    """Yield the nodes with their depth, parents first, without going into comments; no recursion."""
    cursor, depth = tree.walk(), 0
    while True:
        node = cursor.node
        assert node is not None
        yield node, depth
        if "comment" not in node.type and cursor.goto_first_child():
            depth += 1
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return
            depth -= 1


def _characters(data: bytes, spans: Sequence[Span]) -> dict[int, int]:
    """Return offsets in characters for the byte offsets of the spans."""
    places: dict[int, int] = {}
    done, at = 0, 0
    for offset in sorted({edge for span in spans for edge in span}):
        at += len(data[done:offset].decode("utf-8", "replace"))
        done = offset
        places[offset] = at
    return places


@cache
def grammar(name: str) -> "Language | None":
    """Return the grammar of a language, loaded once; None where there is none."""
    loader = _GRAMMARS.get(name)
    if loader is None:
        return None
    from tree_sitter import Language  # noqa: PLC0415 -- see above

    return Language(loader())


def _bash() -> object:
    import tree_sitter_bash as grammar  # noqa: PLC0415 -- each grammar is loaded when code in its language comes

    return grammar.language()


def _c() -> object:
    import tree_sitter_c as grammar  # noqa: PLC0415

    return grammar.language()


def _cpp() -> object:
    import tree_sitter_cpp as grammar  # noqa: PLC0415

    return grammar.language()


def _go() -> object:
    import tree_sitter_go as grammar  # noqa: PLC0415

    return grammar.language()


def _java() -> object:
    import tree_sitter_java as grammar  # noqa: PLC0415

    return grammar.language()


def _javascript() -> object:
    import tree_sitter_javascript as grammar  # noqa: PLC0415

    return grammar.language()


def _rust() -> object:
    import tree_sitter_rust as grammar  # noqa: PLC0415

    return grammar.language()


def _typescript() -> object:
    import tree_sitter_typescript as grammar  # noqa: PLC0415

    return grammar.language_typescript()


def _tsx() -> object:
    import tree_sitter_typescript as grammar  # noqa: PLC0415

    return grammar.language_tsx()


_GRAMMARS: Final[dict[str, Callable[[], object]]] = {
    "bash": _bash,
    "c": _c,
    "cpp": _cpp,
    "go": _go,
    "java": _java,
    "javascript": _javascript,
    "rust": _rust,
    "tsx": _tsx,
    "typescript": _typescript,
}
