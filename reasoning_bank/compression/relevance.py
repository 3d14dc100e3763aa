"""How much each unit of a prompt has to do with what is asked, or, when nothing is, with the rest of the prompt."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.embeddings.embedder import Kind, Vectors
from reasoning_bank.errors import BusyError, ModelUnavailableError, UpstreamError
from reasoning_bank.text.analyser import words

Encode = Callable[[Sequence[str], Kind], Vectors]
"""Turns texts into (n, dim) float32 unit rows; raises ModelUnavailableError, UpstreamError or BusyError."""
Scores = NDArray[np.float64]

EMBEDDED_UNITS: Final = 128
"""Units whose meaning is compared, chosen by their words: more of them keep no more evidence (measured)."""

# BM25 (Robertson and Zaragoza 2009). Lengths are characters: numbers and formulas take room though they are no words.
_K1: Final = 1.2
_B: Final = 0.9
_MEANING: Final = 0.4
"""Share of the meaning in a unit's own score; the rest is words."""
# What surrounds an answer is part of it: a unit inherits from its paragraph, from its neighbours, and from whoever
# names its heading. On three sets of prompts the results hardly change between half and twice of each.
_PARAGRAPH: Final = 0.5
_NEIGHBOURS: Final = 0.5
_REACH: Final = 3
_NAMED: Final = 0.3
_NAMING_UNITS: Final = 64
_SHORTEST_NAME: Final = 6
_BEGINNING: Final = 0.25
_TURN_BEGINNING: Final = 1.0
_QUERY_READ: Final = 4_000
"""Characters of a query that are read: stemming a query of megabytes would take longer than all the rest."""
_PARENTHESES: Final = re.compile(r"\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Passages:
    """The units of a prompt as they are judged, in order.

    Attributes:
        texts: without what says nothing about their content, such as the time of a chat turn.
        paragraphs: (n,) number of the paragraph each one is in, ascending.
        names: the heading of a paragraph by its number.
        chat: (n,) True for turns of a chat.
    """

    texts: Sequence[str]
    paragraphs: NDArray[np.intp]
    names: Mapping[int, str]
    chat: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Relevance:
    """Scores of all units, higher is better.

    Attributes:
        scores: (n,) float64, comparable within one prompt only.
        is_degraded: meaning was wanted, and no model could tell it.
    """

    scores: Scores
    is_degraded: bool = False


def asked(passages: Passages, query: str, encode: Encode | None) -> Relevance:
    """How much each unit has to do with a query: its words and its meaning, and those around it.

    Args:
        passages: the units.
        query: only its first 4,000 characters are read.
        encode: the embedding model, or None to go by words alone.
    """
    query = query[:_QUERY_READ]
    lexical = _share_of_best(_bm25(passages.texts, Counter(words(query))))
    own, is_degraded = lexical, False
    if encode is not None:
        found = _meaning(passages, query, encode, preselected=_surrounded(passages, lexical))
        is_degraded = found is None
        own = lexical if found is None else _MEANING * found + (1 - _MEANING) * lexical
    return Relevance(_named(passages, _surrounded(passages, own)), is_degraded)


def central(passages: Passages, *, head_ratio: float) -> Relevance:
    """How much each unit says of what the whole prompt is about; beginnings of paragraphs, and headings, count more.

    A chat says most things once, and what it repeats is small talk: of its turns those near both ends count more.

    Args:
        passages: the units.
        head_ratio: how much of a cut chat should be its beginning, in [0, 1].
    """
    found = [Counter(words(text)) for text in passages.texts]
    frequency = Counter(term for counts in found for term in counts)
    shared = Counter({term: count for term, count in frequency.items() if count > 1})
    scores = _share_of_best(_weighed(passages.texts, found, shared))
    scores = np.where(passages.chat, _near_an_end([len(text) for text in passages.texts], head_ratio), scores)
    starts = np.ones(len(scores), dtype=bool)
    starts[1:] = passages.paragraphs[1:] != passages.paragraphs[:-1]
    # Behind a heading the first sentence is a beginning too.
    headed = np.isin(passages.paragraphs, list(passages.names))
    starts[1:] |= starts[:-1] & headed[1:] & headed[:-1]
    beginning = np.where(passages.chat, _TURN_BEGINNING, _BEGINNING)
    return Relevance(scores + beginning * starts)


def _near_an_end(lengths: Sequence[int], head_ratio: float) -> Scores:
    """1 at both ends, falling towards where the parts kept of them meet, which lies at the head's share."""
    after = np.cumsum(lengths) / max(sum(lengths), 1)
    return 1 - np.minimum(after / max(head_ratio, 1e-9), (1 - after) / max(1 - head_ratio, 1e-9))


def _bm25(texts: Sequence[str], terms: Counter[str]) -> Scores:
    found = [Counter(term for term in words(text) if term in terms) for text in texts]
    return _weighed(texts, found, terms)


def _weighed(texts: Sequence[str], found: Sequence[Counter[str]], terms: Counter[str]) -> Scores:
    """BM25 of each text for terms with weights, given how often each term is found in it."""
    lengths = [len(text) for text in texts]
    mean = max(sum(lengths) / max(len(lengths), 1), 1.0)
    frequency = Counter(term for counts in found for term in counts if term in terms)
    weights = {
        term: terms[term] * math.log1p((len(found) - count + 0.5) / (count + 0.5)) for term, count in frequency.items()
    }
    scores = [
        sum(
            weights[term] * count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * length / mean))
            for term, count in counts.items()
            if term in weights
        )
        for counts, length in zip(found, lengths, strict=True)
    ]
    return np.array(scores, dtype=np.float64)


def _meaning(passages: Passages, query: str, encode: Encode, *, preselected: Scores) -> Scores | None:
    """Likeness to the query's meaning, 0..1, of the most promising units; None when no model can tell it."""
    promising = (int(at) for at in np.argsort(-preselected, kind="stable"))
    # Embedding servers refuse empty texts.
    chosen = list(islice((at for at in promising if passages.texts[at]), EMBEDDED_UNITS))
    if not chosen:
        return np.zeros(len(preselected), dtype=np.float64)
    try:
        vectors = encode([passages.texts[at] for at in chosen], "document")
        likeness = vectors @ encode([query], "query")[0]
    except (ModelUnavailableError, UpstreamError, BusyError):
        return None
    scores = np.zeros(len(preselected), dtype=np.float64)
    scores[chosen] = _spread(likeness.astype(np.float64))
    return scores


def _surrounded(passages: Passages, scores: Scores) -> Scores:
    """Each score, plus a part of the best in its paragraph, then plus a part of the best among its neighbours."""
    best = np.zeros(int(passages.paragraphs.max(initial=-1)) + 1)
    np.maximum.at(best, passages.paragraphs, scores)
    around = scores + _PARAGRAPH * best[passages.paragraphs]
    nearby = around.copy()
    for step in range(1, _REACH + 1):
        np.maximum(nearby[step:], around[:-step], out=nearby[step:])
        np.maximum(nearby[:-step], around[step:], out=nearby[:-step])
    return around + _NEIGHBOURS * nearby


def _named(passages: Passages, scores: Scores) -> Scores:
    """Scores, more for paragraphs whose heading a promising unit elsewhere names: there the trail goes on."""
    names = {number: name for number, name in _comparable(passages.names).items() if len(name) >= _SHORTEST_NAME}
    if not names:
        return scores
    naming = np.argsort(-scores, kind="stable")[:_NAMING_UNITS]
    lowered = [(int(at), passages.texts[int(at)].lower(), int(passages.paragraphs[at])) for at in naming]
    more = np.zeros(int(passages.paragraphs.max()) + 1)
    for number, name in names.items():
        # The best comes first.
        by = next((at for at, text, own in lowered if own != number and name in text), None)
        if by is not None:
            more[number] = _NAMED * scores[by]
    return scores + more[passages.paragraphs]


def _comparable(names: Mapping[int, str]) -> dict[int, str]:
    return {number: " ".join(_PARENTHESES.sub(" ", name).lower().split()) for number, name in names.items()}


def _share_of_best(scores: Scores) -> Scores:
    best = scores.max(initial=0.0)
    return scores / best if best > 0 else scores


def _spread(scores: Scores) -> Scores:
    low, high = scores.min(initial=np.inf), scores.max(initial=-np.inf)
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)
