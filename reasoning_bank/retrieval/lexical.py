"""Keyword scores of all candidates at once: BM25 over words, pairs and identifiers.

Every statistic is over the candidates only: better, and nothing leaks between workspaces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.retrieval.postings import FloatArray, IntArray, KeyArray, Matches, Segment, find, frequencies
from reasoning_bank.text.analyser import KIND_SHIFT, KINDS, Kind, Terms

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

_KIND_WEIGHTS = np.array([PAIR_WEIGHT if kind == "pair" else 1.0 for kind in KINDS])


@dataclass(frozen=True, slots=True)
class QueryTerms:
    """A query's distinct terms, ready to be looked up.

    Attributes:
        keys: (t,) uint64.
        counts: (t,) float64 how often the query says each.
        kinds: (t,) int64 place of its kind in `KINDS`.
    """

    keys: KeyArray
    counts: NDArray[np.float64]
    kinds: IntArray


@dataclass(frozen=True, slots=True)
class TermScores:
    """Keyword evidence per row, float64, 0 where no term matches or the row is no candidate.

    Attributes:
        points: (n,) BM25 of the terms.
        coverage: by kind of term, (n,) share of the query's information of that kind a row holds, 0..1.
    """

    points: NDArray[np.float64]
    coverage: Mapping[Kind, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many terms rows have, in the order of `KINDS`.

    Attributes:
        rows: (4, n) of each row.
        means: (4,) over the candidates.
        candidates: how many candidates there are.
    """

    rows: FloatArray
    means: NDArray[np.float64]
    candidates: int


def query_terms(terms: Terms) -> QueryTerms:
    """A query's terms as arrays."""
    found = list(terms.keys())
    keys = np.array([key for key, _ in found], dtype=np.uint64)
    counts = np.array([count for _, count in found], dtype=np.float64)
    return QueryTerms(keys, counts, (keys >> np.uint64(KIND_SHIFT)).astype(np.int64))


def of_kinds(query: QueryTerms, *kinds: Kind) -> QueryTerms:
    """The terms of these kinds only."""
    return _only(query, np.isin(query.kinds, [KINDS.index(kind) for kind in kinds]))


def term_scores(
    query: QueryTerms,
    segments: Sequence[Segment],
    *,
    lengths: Lengths,
    mask: NDArray[np.bool_] | None,
    length_prior: float = LENGTH_PRIOR,
) -> TermScores:
    """BM25 of all rows, and how much of the query each holds.

    Args:
        query: the terms to look for.
        segments: where the terms are.
        lengths: how long rows are.
        mask: (n,) True for candidates, or None when all rows are.
        length_prior: words every row is given before lengths are compared.
    """
    # What is common in the workspace may be rare among the candidates of a filter: then nothing is left out.
    kept, common = pruned(query, segments, memories=lengths.candidates) if mask is None else (query, _NOTHING)
    matches = _among_candidates(find(segments, kept.keys), mask)
    idf = _idf(np.bincount(matches.terms, minlength=len(kept.keys)), lengths.candidates)
    points = _term_points(kept, matches, idf=idf, lengths=lengths, prior=length_prior)
    left_out = _idf(frequencies(segments, common.keys), lengths.candidates)
    rows = lengths.rows.shape[1]
    kinds: list[int] = np.unique(query.kinds).tolist()
    coverage: dict[Kind, NDArray[np.float64]] = {}
    for kind in kinds:
        chosen = kept.kinds == kind
        # Words the bank does not know have the highest idf: they count against every memory. So do those left out.
        asked = float(idf[chosen].sum() + left_out[common.kinds == kind].sum())
        coverage[KINDS[kind]] = _held(matches, chosen, idf, rows) / asked
    return TermScores(_sums(matches.rows, points, rows), coverage)


def pruned(query: QueryTerms, segments: Sequence[Segment], *, memories: int) -> tuple[QueryTerms, QueryTerms]:
    """The query without the common terms of each kind, and those; in large banks only.

    The 12 rarest that occur at all always stay, and those that do not occur cost nothing.
    """
    if memories <= PRUNE_ABOVE_MEMORIES:
        return query, _NOTHING
    frequency = frequencies(segments, query.keys)
    keep = frequency <= COMMON_SHARE * memories
    for kind in np.unique(query.kinds):
        of_kind = np.flatnonzero((query.kinds == kind) & (frequency > 0))
        keep[of_kind[np.argsort(frequency[of_kind], kind="stable")[:ALWAYS_KEPT_TERMS]]] = True
    return _only(query, keep), _only(query, ~keep)


def _only(query: QueryTerms, keep: NDArray[np.bool_]) -> QueryTerms:
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
    query: QueryTerms, matches: Matches, *, idf: NDArray[np.float64], lengths: Lengths, prior: float
) -> NDArray[np.float64]:
    """BM25 of each match (Robertson and Zaragoza 2009), with a length prior in place of the constant b."""
    kinds = query.kinds[matches.terms]
    relative_length = (lengths.rows[kinds, matches.rows] + prior) / (lengths.means[kinds] + prior)
    saturated = matches.counts * (K1 + 1) / (matches.counts + K1 * relative_length)
    weights = query.counts * idf * _KIND_WEIGHTS[query.kinds]
    return weights[matches.terms] * saturated


def _held(matches: Matches, chosen: NDArray[np.bool_], idf: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """(n,) information of the chosen terms that each row holds."""
    among = chosen[matches.terms]
    return _sums(matches.rows[among], idf[matches.terms[among]], rows)


def _sums(rows: NDArray[np.int32], points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    return np.bincount(rows, points, minlength=size).astype(np.float64, copy=False)


_NOTHING = QueryTerms(np.empty(0, np.uint64), np.empty(0, np.float64), np.empty(0, np.int64))
