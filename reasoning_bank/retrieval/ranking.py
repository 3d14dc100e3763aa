"""The rule from a question to an order of all candidates: one configuration for every kind of data.

Steps in turn: meaning and keywords over the candidates, one weighted sum, one step along titles, neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import nsmallest

import numpy as np

from reasoning_bank.retrieval.corpus import BoolArray, Corpus
from reasoning_bank.retrieval.fusion import Scores, best_rows, code_degree, fuse, z_scores
from reasoning_bank.retrieval.lexical import LexicalScores, QueryTerms, lexical_scores
from reasoning_bank.retrieval.links import linked_rows, with_links
from reasoning_bank.retrieval.postings import FloatArray, IntArray
from reasoning_bank.retrieval.relevance import relevance
from reasoning_bank.retrieval.scope import Scope
from reasoning_bank.retrieval.sequence import around, shared_among_neighbours, smoothed
from reasoning_bank.retrieval.timing import Stopwatch

STATISTICS_SAMPLE = 20_000
"""Candidates whose cosines give mean and spread when an index named the nearest: up to here all, beyond a sample."""
KEYWORD_CANDIDATES = 200
"""Best rows by keyword that are scored fully beside those an index named."""

SHARING_ROWS = 2_000
"""Best rows whose sessions share scores among neighbours: no session without one of them can still come first."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query ready to be ranked.

    Attributes:
        terms: its words, pairs and identifiers.
        vector: (dim,) float32 its meaning, or None when no model could tell.
        near: rows an index found nearest to the vector, or None to compare it with every row.
    """

    terms: QueryTerms
    vector: FloatArray | None
    near: IntArray | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """The best rows, best first, ties by id.

    Attributes:
        rows: (m,) rows of the corpus.
        relevance: (m,) absolute relevance of each, 0..1.
        scores: (m,) fused score of each, in standard deviations of the candidates.
    """

    rows: IntArray
    relevance: Scores
    scores: Scores


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What speaks for each row.

    Attributes:
        dense: (n,) cosines, smoothed where rows have an order; nan where unknown.
        known: (n,) rows whose cosines give mean and spread, None for all candidates.
        open: (n,) rows that can be returned, None for all.
    """

    lexical: LexicalScores
    dense: Scores
    known: BoolArray | None
    open: BoolArray | None


def rank(
    corpus: Corpus,
    question: Question,
    scope: Scope,
    *,
    limit: int,
    text_of: Callable[[int], str],
    watch: Stopwatch,
) -> Ranked:
    """The best `limit` candidates.

    Args:
        corpus: the workspace.
        question: what to look for.
        scope: which rows may be returned; every statistic is over them only.
        limit: how many rows to return at most.
        text_of: reads the text of a row; called once, for the best hit, and only where items have titles.
        watch: gets the laps "keyword", "semantic" and "fusion".
    """
    if not scope.count or limit < 1:
        return Ranked(np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.float64))
    lexical = _lexical(corpus, question, scope)
    watch.lap("keyword")
    evidence = _evidence(corpus, question, scope, lexical)
    watch.lap("semantic")
    scores = _fused(corpus, evidence, scope)
    scores = _linked(corpus, scores, scope, text_of)
    scores = _shared(corpus, scores)
    rows = best_first(corpus, scores, min(limit, scope.count))
    ranked = Ranked(rows, _relevance(corpus, question, rows, lexical), scores[rows])
    watch.lap("fusion")
    return ranked


def best_first(corpus: Corpus, scores: Scores, limit: int) -> IntArray:
    """Rows by descending score, ties by id, whatever order the rows are in; rows at -inf are left out."""
    usable: list[int] = best_rows(scores, limit).tolist()
    ids = corpus.names.ids
    keyed = ((-float(scores[row]), ids[row], row) for row in usable)
    return np.array([row for _, _, row in nsmallest(limit, keyed)], dtype=np.int64)


def _lexical(corpus: Corpus, question: Question, scope: Scope) -> LexicalScores:
    lengths = corpus.columns.lengths
    among = lengths if scope.mask is None else lengths[:, scope.mask]
    return lexical_scores(
        question.terms,
        corpus.segments,
        lengths=lengths,
        mask=scope.mask,
        candidates=scope.count,
        mean_lengths=among.mean(axis=1, dtype=np.float64),
    )


def _evidence(corpus: Corpus, question: Question, scope: Scope, lexical: LexicalScores) -> _Evidence:
    if question.vector is None:
        return _Evidence(lexical, np.full(corpus.size, np.nan), scope.mask, scope.mask)
    if question.near is None:
        products = corpus.products(question.vector)
        return _Evidence(lexical, smoothed(products, corpus.order, corpus.smooth_norms), scope.mask, scope.mask)
    return _evidence_near(corpus, question.vector, question.near, scope=scope, lexical=lexical)


def _evidence_near(
    corpus: Corpus, vector: FloatArray, near: IntArray, *, scope: Scope, lexical: LexicalScores
) -> _Evidence:
    """Evidence where an index named the nearest: they, the best by keyword and the neighbours of both are scored."""
    candidates = np.arange(corpus.size) if scope.mask is None else np.flatnonzero(scope.mask)
    by_words = best_rows(np.where(lexical.text > 0, lexical.text, -np.inf), KEYWORD_CANDIDATES)
    chosen = _with_neighbours(corpus, np.concatenate([near, by_words]))
    sample = candidates[:: max(1, len(candidates) // STATISTICS_SAMPLE)]
    scored = np.union1d(chosen, _with_neighbours(corpus, sample))
    products = np.full(corpus.size, np.nan)
    products[scored] = corpus.products(vector, scored)
    return _Evidence(
        lexical,
        smoothed(products, corpus.order, corpus.smooth_norms),
        known=_marked(corpus.size, sample),
        open=_marked(corpus.size, np.intersect1d(chosen, candidates)),
    )


def _with_neighbours(corpus: Corpus, rows: IntArray) -> IntArray:
    if not len(corpus.order.rows):
        return np.unique(rows)
    before, after = np.append(corpus.order.before, -1), np.append(corpus.order.after, -1)
    near = np.concatenate([rows, before[rows], after[rows], before[before[rows]], after[after[rows]]])
    return np.unique(near[near >= 0])


def _marked(size: int, rows: IntArray) -> BoolArray:
    mask = np.zeros(size, np.bool_)
    mask[rows] = True
    return mask


def _fused(corpus: Corpus, evidence: _Evidence, scope: Scope) -> Scores:
    lexical, allowed = evidence.lexical, evidence.open
    rows = slice(None) if allowed is None else allowed
    degree = code_degree(evidence.dense[rows], lexical.text[rows], corpus.columns.code_share[rows])
    scores = fuse(
        z_scores(evidence.dense, evidence.known),
        z_scores(lexical.text, scope.mask),
        z_scores(lexical.identifiers, scope.mask),
        degree=degree,
    )
    if allowed is not None:
        scores[~allowed] = -np.inf
    return scores


def _linked(corpus: Corpus, scores: Scores, scope: Scope, text_of: Callable[[int], str]) -> Scores:
    best = best_first(corpus, scores, 1) if corpus.titled else np.empty(0, np.int64)
    if not len(best):
        return scores
    top = int(best[0])
    linked = linked_rows(text_of(top), corpus.segments, memories=corpus.live_count)
    allowed = linked if scope.mask is None else linked[scope.mask[linked]]
    return with_links(scores, top, allowed[allowed != top])


def _shared(corpus: Corpus, scores: Scores) -> Scores:
    order = corpus.order
    if len(order.rows) > SHARING_ROWS:
        order = around(order, best_rows(scores, SHARING_ROWS))
    return shared_among_neighbours(scores, order, corpus.columns.asks)


def _relevance(corpus: Corpus, question: Question, rows: IntArray, lexical: LexicalScores) -> Scores:
    cosine = np.full(len(rows), np.nan)
    if question.vector is not None:
        # The length of the query matters here only: an average of two unit vectors is shorter than 1.
        lengths = corpus.vector_norms(rows) * max(float(np.linalg.norm(question.vector)), 1e-12)
        cosine = corpus.products(question.vector, rows) / np.maximum(lengths, 1e-12)
    return relevance(cosine, lexical.coverage[rows], lexical.identifier_coverage[rows])
