"""One step beyond the best hits: memories whose title they mention word for word."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.retrieval.fusion import Scores
from reasoning_bank.retrieval.postings import IntArray, KeyArray, Segment, find
from reasoning_bank.text.analyser import (
    KIND_SHIFT,
    KINDS,
    LONGEST_TITLE,
    PHRASE_BASE,
    Kind,
    pairs,
    plain_title_words,
    term_key,
    word_key,
    words,
)

NAMED = 1.0
"""What a memory gains whose title the query itself says, standard deviations (.5-3 measure the same)."""
LINKED = 0.7
"""What of the best hit's score the memories it mentions inherit."""
LINKING_HITS = 5
"""Best hits whose mentions are followed (3-10 measure the same)."""
MENTIONED = 0.2
"""What of a good hit's score is added to the memories it mentions."""
_RARE_SHARE = 0.01
_RARE_COUNT = 2
# Titles stand in the text's beginning or not at all; a 64 KiB text must not cost milliseconds.
_WORDS_READ = 1_000
_HASH = np.uint64((1 << KIND_SHIFT) - 1)
_TITLE = np.uint64(KINDS.index("title") << KIND_SHIFT)


def linked_rows(text: str, segments: Sequence[Segment], *, live: NDArray[np.bool_]) -> IntArray:
    """Live rows whose title occurs word for word in a text, and in few other memories: a common title says nothing.

    Args:
        text: the best hit's text.
        segments: where titles and the words of texts are.
        live: (n,) False for rows that were forgotten or replaced, which count for nothing.
    """
    phrase = plain_title_words(text)[:_WORDS_READ]
    keys, starts, lengths = _phrases(phrase)
    found = find(segments, keys)
    limit = max(_RARE_COUNT, int(_RARE_SHARE * np.count_nonzero(live)))
    rare: dict[int, bool] = {}
    for place in np.unique(found.terms).tolist():
        title = phrase[starts[place] : starts[place] + lengths[place]]
        rare[place] = 0 < _mentions(title, segments, live) <= limit
    rows = [row for row, place in zip(found.rows.tolist(), found.terms.tolist(), strict=True) if rare[place]]
    linked = np.unique(np.array(rows, dtype=np.int64))
    return linked[live[linked]]


def with_links(scores: Scores, links: Sequence[tuple[int, IntArray]]) -> Scores:
    """Scores where memories that good hits mention gain by it.

    Args:
        scores: (n,) scores.
        links: (hit, rows it mentions), best hit first.
    """
    result = scores.copy()
    for place, (hit, rows) in enumerate(links):
        gained = scores[rows] + MENTIONED * scores[hit]
        inherited = LINKED * scores[hit] if place == 0 else -np.inf
        result[rows] = np.maximum(result[rows], np.maximum(gained, inherited))
    return result


def _phrases(phrase: Sequence[str]) -> tuple[KeyArray, NDArray[np.int64], NDArray[np.int64]]:
    """Keys of every run of 1 to 8 words, and where and how long it is."""
    single = np.array([word_key(word) for word in phrase], dtype=np.uint64)
    rolling, keys = np.zeros(len(single) + 1, dtype=np.uint64), list[KeyArray]()
    for size in range(1, min(LONGEST_TITLE, len(single)) + 1):
        # uint64 arrays wrap around silently, as `phrase_key` does by its mask.
        rolling = rolling[:-1] * np.uint64(PHRASE_BASE) + single[size - 1 :]
        keys.append(rolling)
    if not keys:
        return single, np.empty(0, np.int64), np.empty(0, np.int64)
    starts = np.concatenate([np.arange(len(run)) for run in keys])
    lengths = np.repeat(np.arange(1, len(keys) + 1), [len(run) for run in keys])
    return np.concatenate(keys) & _HASH | _TITLE, starts, lengths


def _mentions(title: Sequence[str], segments: Sequence[Segment], live: NDArray[np.bool_]) -> int:
    """In how many live memories all words, or neighbouring pairs, of a title occur."""
    text = " ".join(title)
    kind: Kind = "pair" if len(title) > 1 else "word"
    terms = set(pairs(text) if kind == "pair" else words(text))
    keys = np.array([term_key(kind, term) for term in terms], dtype=np.uint64)
    if not len(keys):
        return 0
    rows = find(segments, keys).rows
    return int(np.count_nonzero(np.bincount(rows[live[rows]]) == len(keys)))
