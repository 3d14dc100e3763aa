"""Keyword scores of all candidates at once: BM25 over words, pairs and identifiers.

Every statistic is over the candidates only: better, and nothing leaks between workspaces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.retrieval.postings import FloatArray, IntArray, KeyArray, Matches, Segment, find, frequencies
from reasoning_bank.text.analyser import KIND_SHIFT, KINDS, Terms

K1 = 1.2
"""How soon repetitions of a word stop counting (Robertson's usual value; .8-1.2 measure the same)."""
LENGTH_PRIOR = 30.0
"""Words every memory is given: short memories are hardly normalised by length, long ones almost fully."""
PAIR_WEIGHT = 0.35
"""What a matching pair of words counts beside a matching word (.25-.5 measure the same)."""

PRUNE_ABOVE_MEMORIES = 10_000
"""Below, leaving out terms saves nothing that can be measured and costs up to .02 nDCG on long queries."""
ALWAYS_KEPT_TERMS = 12
COMMON_SHARE = 0.25
"""Beyond the rarest, terms in more than this share of the memories are left out: they cost most and tell least."""

_WORD, _PAIR, _IDENTIFIER = KINDS.index("word"), KINDS.index("pair"), KINDS.index("identifier")
_KIND_WEIGHTS = np.array([1.0, PAIR_WEIGHT, 1.0])


@dataclass(frozen=True, slots=True)
class QueryTerms:
    """A query's distinct terms, ready to be looked up.

    Attributes:
        keys: (t,) uint64.
        counts: (t,) float64 how often the query says each.
        kinds: (t,) int64: 0 word, 1 pair, 2 identifier.
    """

    keys: KeyArray
    counts: NDArray[np.float64]
    kinds: IntArray


@dataclass(frozen=True, slots=True)
class LexicalScores:
    """Keyword evidence per row, float64, 0 where no term matches or the row is no candidate.

    Attributes:
        text: BM25 of words plus pairs in the text.
        identifiers: BM25 of identifiers in the content.
        coverage: share of the query's word information the row's text holds, 0..1.
        identifier_coverage: the same for identifiers in the content.
    """

    text: NDArray[np.float64]
    identifiers: NDArray[np.float64]
    coverage: NDArray[np.float64]
    identifier_coverage: NDArray[np.float64]


def query_terms(terms: Terms) -> QueryTerms:
    """A query's terms as arrays."""
    found = list(terms.keys())
    keys = np.array([key for key, _ in found], dtype=np.uint64)
    counts = np.array([count for _, count in found], dtype=np.float64)
    return QueryTerms(keys, counts, (keys >> np.uint64(KIND_SHIFT)).astype(np.int64))


def lexical_scores(
    query: QueryTerms,
    segments: Sequence[Segment],
    *,
    lengths: FloatArray,
    mask: NDArray[np.bool_] | None,
    candidates: int,
    mean_lengths: NDArray[np.float64],
) -> LexicalScores:
    """Keyword scores of all rows.

    Args:
        query: the terms to look for.
        segments: where the terms are.
        lengths: (3, rows) words, pairs, identifiers of each row.
        mask: (rows,) True for candidates, or None when all rows are.
        candidates: how many candidates there are.
        mean_lengths: (3,) mean of `lengths` over the candidates.
    """
    query = pruned(query, segments, memories=candidates)
    matches = _among_candidates(find(segments, query.keys), mask)
    idf = _idf(np.bincount(matches.terms, minlength=len(query.keys)), candidates)
    points = _term_points(query, matches, idf=idf, lengths=lengths, mean_lengths=mean_lengths)
    rows = lengths.shape[1]
    is_identifier = query.kinds[matches.terms] == _IDENTIFIER
    is_word = query.kinds[matches.terms] == _WORD
    return LexicalScores(
        text=_sums(matches.rows[~is_identifier], points[~is_identifier], rows),
        identifiers=_sums(matches.rows[is_identifier], points[is_identifier], rows),
        coverage=_coverage(matches, is_word, idf, query.kinds == _WORD, rows),
        identifier_coverage=_coverage(matches, is_identifier, idf, query.kinds == _IDENTIFIER, rows),
    )


def pruned(query: QueryTerms, segments: Sequence[Segment], *, memories: int) -> QueryTerms:
    """The query without the common terms of each kind, in large banks only; the 12 rarest always stay."""
    if memories <= PRUNE_ABOVE_MEMORIES:
        return query
    frequency = frequencies(segments, query.keys)
    keep = frequency <= COMMON_SHARE * memories
    for kind in (_WORD, _PAIR, _IDENTIFIER):
        of_kind = np.flatnonzero(query.kinds == kind)
        keep[of_kind[np.argsort(frequency[of_kind], kind="stable")[:ALWAYS_KEPT_TERMS]]] = True
    return QueryTerms(query.keys[keep], query.counts[keep], query.kinds[keep])


def _among_candidates(matches: Matches, mask: NDArray[np.bool_] | None) -> Matches:
    if mask is None:
        return matches
    keep = mask[matches.rows]
    return Matches(matches.terms[keep], matches.rows[keep], matches.counts[keep])


def _idf(frequency: IntArray, candidates: int) -> NDArray[np.float64]:
    # Lucene's form: never negative, so that a common word cannot push a memory down.
    return np.log1p((candidates - frequency + 0.5) / (frequency + 0.5))


def _term_points(
    query: QueryTerms,
    matches: Matches,
    *,
    idf: NDArray[np.float64],
    lengths: FloatArray,
    mean_lengths: NDArray[np.float64],
) -> NDArray[np.float64]:
    """BM25 of each match (Robertson and Zaragoza 2009), with a length prior in place of the constant b."""
    kinds = query.kinds[matches.terms]
    relative_length = (lengths[kinds, matches.rows] + LENGTH_PRIOR) / (mean_lengths[kinds] + LENGTH_PRIOR)
    saturated = matches.counts * (K1 + 1) / (matches.counts + K1 * relative_length)
    weights = query.counts * idf * _KIND_WEIGHTS[query.kinds]
    return weights[matches.terms] * saturated


def _coverage(
    matches: Matches,
    chosen: NDArray[np.bool_],
    idf: NDArray[np.float64],
    in_query: NDArray[np.bool_],
    rows: int,
) -> NDArray[np.float64]:
    # Words the bank does not know have the highest idf: they count against every memory.
    asked = float(idf[in_query].sum())
    held = _sums(matches.rows[chosen], idf[matches.terms[chosen]], rows)
    return held / asked if asked else held


def _sums(rows: NDArray[np.int32], points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    return np.bincount(rows, points, minlength=size).astype(np.float64, copy=False)
