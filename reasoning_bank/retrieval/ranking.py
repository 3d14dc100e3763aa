"""The rule from evidence to an order of all candidates: one configuration for every kind of data.

Steps in turn: one weighted sum of what the strategies say, one step along titles, neighbours, sessions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import nsmallest

import numpy as np

from reasoning_bank.records import Stage
from reasoning_bank.retrieval.corpus import Corpus
from reasoning_bank.retrieval.fusion import FIXED_DEGREE, Scores, best_rows, code_degree, fuse, z_scores
from reasoning_bank.retrieval.links import linked_rows, with_links
from reasoning_bank.retrieval.postings import FloatArray, IntArray
from reasoning_bank.retrieval.relevance import relevance
from reasoning_bank.retrieval.scope import Scope
from reasoning_bank.retrieval.sequence import around, lifted_by_neighbours, lifted_by_session
from reasoning_bank.retrieval.strategies import Evidence
from reasoning_bank.retrieval.temporal import TEMPORAL_BOOST

SHARING_ROWS = 2_000
"""Best rows whose sessions share scores among neighbours: no session without one of them can still come first."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """All candidates judged.

    Attributes:
        scores: (n,) what speaks for each row, in standard deviations of the candidates; -inf for no candidates.
        degree: how much the likely answers are code, 0..1.
    """

    scores: Scores
    degree: float


def rank(
    corpus: Corpus,
    evidence: Evidence,
    scope: Scope,
    *,
    text_of: Callable[[int], str],
    without: frozenset[Stage] = frozenset(),
) -> Ranking:
    """Judge every candidate.

    Args:
        corpus: the workspace.
        evidence: what the strategies found.
        scope: which rows may be returned; every statistic is over them only.
        text_of: reads the text of a row; called once, for the best hit, and only where items have titles.
        without: parts of the rule that are left out.
    """
    ranking = _fused(corpus, evidence, scope, without)
    scores = ranking.scores
    if "links" not in without:
        scores = _linked(corpus, scores, scope, text_of)
    return Ranking(_shared(corpus, scores, without), ranking.degree)


def best_first(corpus: Corpus, scores: Scores, limit: int) -> IntArray:
    """Rows by descending score, ties by id, whatever order the rows are in; rows at -inf are left out."""
    usable: list[int] = best_rows(scores, limit).tolist()
    ids = corpus.names.ids
    keyed = ((-float(scores[row]), ids[row], row) for row in usable)
    return np.array([row for _, _, row in nsmallest(limit, keyed)], dtype=np.int64)


def relevance_of(corpus: Corpus, evidence: Evidence, vector: FloatArray | None, rows: IntArray) -> Scores:
    """(m,) absolute relevance of rows, 0..1; (dim,) `vector` is the query's meaning where the model could tell."""
    cosine = np.full(len(rows), np.nan)
    if vector is not None and evidence.semantic is not None:
        # The length of the query matters here only: an average of two unit vectors is shorter than 1.
        lengths = corpus.vector_norms(rows) * max(float(np.linalg.norm(vector)), 1e-12)
        cosine = corpus.products(vector, rows) / np.maximum(lengths, 1e-12)
    covered, named = (
        np.zeros(len(rows)) if found is None else found.coverage[rows] for found in (evidence.keyword, evidence.entity)
    )
    return relevance(cosine, covered, named)


def _fused(corpus: Corpus, evidence: Evidence, scope: Scope, without: frozenset[Stage]) -> Ranking:
    nothing = np.zeros(corpus.size)
    meaning = evidence.semantic
    cosines = np.full(corpus.size, np.nan) if meaning is None else meaning.cosines
    known, allowed = (scope.mask, scope.mask) if meaning is None else (meaning.known, meaning.open)
    words = nothing if evidence.keyword is None else evidence.keyword.points
    names = nothing if evidence.entity is None else evidence.entity.points
    degree = FIXED_DEGREE
    if "code_share" not in without:
        rows = slice(None) if allowed is None else allowed
        degree = code_degree(cosines[rows], words[rows], corpus.columns.code_share[rows])
    scores = fuse(z_scores(cosines, known), z_scores(words, scope.mask), z_scores(names, scope.mask), degree=degree)
    if evidence.temporal is not None:
        scores += TEMPORAL_BOOST * evidence.temporal
    if allowed is not None:
        scores[~allowed] = -np.inf
    return Ranking(scores, degree)


def _linked(corpus: Corpus, scores: Scores, scope: Scope, text_of: Callable[[int], str]) -> Scores:
    best = best_first(corpus, scores, 1) if corpus.titled else np.empty(0, np.int64)
    if not len(best):
        return scores
    top = int(best[0])
    linked = linked_rows(text_of(top), corpus.segments, memories=corpus.live_count)
    allowed = linked if scope.mask is None else linked[scope.mask[linked]]
    return with_links(scores, top, allowed[allowed != top])


def _shared(corpus: Corpus, scores: Scores, without: frozenset[Stage]) -> Scores:
    order = corpus.order
    if len(order.rows) > SHARING_ROWS:
        order = around(order, best_rows(scores, SHARING_ROWS))
    if "neighbours" not in without:
        asks = np.zeros(corpus.size, np.bool_) if "answers" in without else corpus.columns.asks
        scores = lifted_by_neighbours(scores, order, asks)
    return scores if "session" in without else lifted_by_session(scores, order)
