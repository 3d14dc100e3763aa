"""The rule from a question to an order of all candidates: one configuration for every kind of data.

Steps in turn: meaning and keywords over all candidates, one weighted sum, one step along titles, neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.retrieval.corpus import BoolArray, Corpus
from reasoning_bank.retrieval.fusion import Scores, best_rows, code_degree, fuse
from reasoning_bank.retrieval.lexical import LexicalScores, QueryTerms, lexical_scores
from reasoning_bank.retrieval.links import linked_rows, with_links
from reasoning_bank.retrieval.postings import FloatArray, IntArray
from reasoning_bank.retrieval.relevance import relevance
from reasoning_bank.retrieval.sequence import shared_among_neighbours, smoothed


@dataclass(frozen=True, slots=True)
class Question:
    """A query ready to be ranked.

    Attributes:
        terms: its words, pairs and identifiers.
        vector: (dim,) float32 its meaning, or None when no model could tell.
    """

    terms: QueryTerms
    vector: FloatArray | None


@dataclass(frozen=True, slots=True)
class Ranked:
    """The best rows, best first, ties by id.

    Attributes:
        rows: (m,) rows of the corpus.
        relevance: (m,) absolute relevance of each, 0..1.
    """

    rows: IntArray
    relevance: Scores


def rank(
    corpus: Corpus, question: Question, *, mask: BoolArray | None, limit: int, text_of: Callable[[int], str]
) -> Ranked:
    """The best `limit` candidates.

    Args:
        corpus: the workspace.
        question: what to look for.
        mask: (n,) True for candidates, None when every row is one.
        limit: how many rows to return at most.
        text_of: reads the text of a row; called once, for the best hit, and only where items have titles.
    """
    candidates = corpus.size if mask is None else int(np.count_nonzero(mask))
    if not candidates:
        return Ranked(np.empty(0, np.int64), np.empty(0, np.float64))
    lexical = _lexical(corpus, question, mask, candidates)
    products = _products(corpus, question)
    scores = _fused(corpus, products, lexical, mask)
    scores = _linked(corpus, scores, text_of)
    scores = shared_among_neighbours(scores, corpus.order, corpus.columns.asks)
    rows = _best_first(corpus, scores, min(limit, candidates))
    return Ranked(rows, _relevance(corpus, question, rows, products=products, lexical=lexical))


def _lexical(corpus: Corpus, question: Question, mask: BoolArray | None, candidates: int) -> LexicalScores:
    lengths = corpus.columns.lengths
    among = lengths if mask is None else lengths[:, mask]
    return lexical_scores(
        question.terms,
        corpus.segments,
        lengths=lengths,
        mask=mask,
        candidates=candidates,
        mean_lengths=among.mean(axis=1, dtype=np.float64),
    )


def _products(corpus: Corpus, question: Question) -> Scores:
    if question.vector is None or not corpus.view.live_count:
        return np.full(corpus.size, np.nan)
    return corpus.products(question.vector)


def _fused(corpus: Corpus, products: Scores, lexical: LexicalScores, mask: BoolArray | None) -> Scores:
    dense = smoothed(products, corpus.order, corpus.smooth_norms)
    share = corpus.columns.code_share
    if mask is None:
        degree = code_degree(dense, lexical.text, share)
        return fuse(dense, lexical.text, lexical.identifiers, degree=degree)
    degree = code_degree(dense[mask], lexical.text[mask], share[mask])
    scores = fuse(dense, lexical.text, lexical.identifiers, degree=degree, among=mask)
    scores[~mask] = -np.inf
    return scores


def _linked(corpus: Corpus, scores: Scores, text_of: Callable[[int], str]) -> Scores:
    titles = corpus.columns.titles
    if not titles.any():
        return scores
    best = int(_best_first(corpus, scores, 1)[0])
    linked = linked_rows(text_of(best), titles, corpus.segments, memories=corpus.live_count)
    return with_links(scores, best, linked[linked != best])


def _best_first(corpus: Corpus, scores: Scores, limit: int) -> IntArray:
    """Rows by descending score, ties by id, whatever order the rows are in."""
    rows = best_rows(scores, limit)
    if limit < len(scores):
        # Everything as good as the last place stays in until the ids decide.
        rows = np.flatnonzero(scores >= scores[rows].min())
    ids = corpus.names.ids
    ranked = sorted(rows.tolist(), key=lambda row: (-scores[row], ids[row]))
    return np.array(ranked[:limit], dtype=np.int64)


def _relevance(
    corpus: Corpus, question: Question, rows: IntArray, *, products: Scores, lexical: LexicalScores
) -> NDArray[np.float64]:
    cosine = products[rows]
    if question.vector is not None:
        # The length of the query matters here only: an average of two unit vectors is shorter than 1.
        cosine = cosine / (corpus.vector_norms(rows) * float(np.linalg.norm(question.vector)))
    return relevance(cosine, lexical.coverage[rows], lexical.identifier_coverage[rows])
