"""Which terms a workspace knows at all: a Bloom filter over term keys, so that a search need not look for the others.

It says "no" only of a term that no memory ever held, so skipping never loses a match; a false "yes", one in a hundred,
only costs the look-up. Terms of forgotten memories stay known.

What it is worth (100,000 memories, 670,000 terms, 1.6 MB): a dozen terms are judged in 2 us, against 45 us for their
`postings.frequencies`; 430 terms in 90 us against 150 us. Made from nothing in 0.3 s, extended by a memory in 0.05 ms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rbloom import Bloom

from reasoning_bank.retrieval.postings import KeyArray, Segment

FALSE_YES = 0.01
"""Share of unknown keys taken for known."""
_LEAST_KEYS = 1 << 12
_SPARE = 2


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The terms of one snapshot of a workspace; never changed, so that readers need no lock.

    Attributes:
        terms: a filter over term keys.
        room: keys it can take until more than `FALSE_YES` of the unknown pass.
    """

    terms: Bloom
    room: int

    def known(self, keys: KeyArray) -> NDArray[np.bool_]:
        """(k,) bool: False where no memory ever held the term, True where one probably does."""
        return np.fromiter((key in self.terms for key in keys.tolist()), np.bool_, len(keys))


def empty_vocabulary() -> Vocabulary:
    """A vocabulary without terms."""
    return _sized(_LEAST_KEYS)


def extended(vocabulary: Vocabulary, keys: KeyArray, *, segments: Sequence[Segment]) -> Vocabulary:
    """The vocabulary with more terms.

    Args:
        vocabulary: what was known before; stays as it is.
        keys: (k,) uint64 distinct term keys to add (`Segment.keys`); known ones change nothing.
        segments: postings of all terms, these included: read where the filter is full and made anew, twice as large.
    """
    if len(keys) > vocabulary.room:
        return _of_segments(segments)
    new = [key for key in keys.tolist() if key not in vocabulary.terms]
    if not new:
        return vocabulary
    terms = vocabulary.terms.copy()
    _add(terms, new)
    return Vocabulary(terms, vocabulary.room - len(new))


def _of_segments(segments: Sequence[Segment]) -> Vocabulary:
    # Terms that several segments hold are counted more than once: the filter is at most a little too large.
    count = sum(len(segment.keys) for segment in segments)
    vocabulary = _sized(max(_SPARE * count, _LEAST_KEYS))
    for segment in segments:
        _add(vocabulary.terms, segment.keys.tolist())
    return Vocabulary(vocabulary.terms, vocabulary.room - count)


def _add(terms: Bloom, keys: list[int]) -> None:
    terms.update(keys)  # pyright: ignore[reportUnknownMemberType] -- typed as any iterable


def _sized(keys: int) -> Vocabulary:
    return Vocabulary(Bloom(keys, FALSE_YES), keys)
