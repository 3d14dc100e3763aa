"""What is left of a prompt when not even its own question fits: whole words, the most telling first, without a mark."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from reasoning_bank.compression.edits import Span, joined
from reasoning_bank.compression.pieces import Pieces
from reasoning_bank.compression.units import word_spans
from reasoning_bank.text.analyser import words

_MOST_WORDS: Final = 200
"""Words that are tried; so few tokens hold no more of them."""
_DENIAL: Final = re.compile(r"(?:not|no|never|none|nor|without|only|except|unless|cannot|\w+n['’]t)\W*$", re.IGNORECASE)
_SENTENCE_START: Final = re.compile(r".*(?:[.!?;]\s|\n)", re.DOTALL)
_SENTENCE_END: Final = re.compile(r"[.!;](?=\s)|[?？。！\n]")
_SENTENCE_READ: Final = 400


def telegraph(pieces: Pieces, found: Sequence[Span], *, count: Callable[[str], int], budget: int) -> Pieces:
    """Return as many words as fit, in the order of the prompt: those of questions first, and the stop words last.

    No word stays without what denies it: "do not delete" never becomes "delete". A mark would take the room of a word,
    so there is none.

    Args:
        pieces: the prompt.
        found: words of its text, the most important first.
        count: counts the tokens of a text.
        budget: most tokens of the result.
    """
    text = pieces.text
    telling = [span for span in found[:_MOST_WORDS] if words(text[slice(*span)])]
    telling.sort(key=lambda span: not _is_asked(text, span[0]))
    best, chosen = Pieces("", ()), list[Span]()
    for span in [*telling, *found[:_MOST_WORDS]]:
        spans = joined([*chosen, *_denials(text, span[0]), span])
        shown = pieces.selected(spans, _gaps(text, spans))
        if count(shown.text) <= budget:
            best, chosen = shown, spans
    return best


def _is_asked(text: str, at: int) -> bool:
    end = _SENTENCE_END.search(text, at, at + _SENTENCE_READ)
    return end is not None and end[0] in "?？"


def _denials(text: str, at: int) -> Iterator[Span]:
    """Yield the words before a place that deny what its sentence says there."""
    first = max(at - _SENTENCE_READ, 0)
    before = _SENTENCE_START.match(text, first, at)
    return (
        span for span in word_spans(text, before.end() if before else first, at) if _DENIAL.match(text[slice(*span)])
    )


def _gaps(text: str, spans: Sequence[Span]) -> list[str]:
    """Return what stands before each word, and after the last: what stood there, in one character."""
    gaps = (text[before[1] : after[0]] for before, after in pairwise(spans))
    return ["", *("\n" if "\n" in gap else " " if gap else "" for gap in gaps), ""]
