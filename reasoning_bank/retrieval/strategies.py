"""The ways memories are found, each judging every candidate on its own; what they say is weighed in `ranking`."""

from dataclasses import dataclass, replace

import numpy as np

from reasoning_bank.records import Stage
from reasoning_bank.retrieval.corpus import BoolArray, Corpus
from reasoning_bank.retrieval.fusion import Scores, best_rows
from reasoning_bank.retrieval.intent import Intent
from reasoning_bank.retrieval.lexical import LENGTH_PRIOR, Lengths, QueryTerms, TermScores, of_kinds, term_scores
from reasoning_bank.retrieval.links import linked_rows
from reasoning_bank.retrieval.postings import FloatArray, IntArray, find
from reasoning_bank.retrieval.scope import Scope
from reasoning_bank.retrieval.sequence import smoothed
from reasoning_bank.retrieval.temporal import rows_stating_times, temporal_scores
from reasoning_bank.text.analyser import Kind, plain_title_words, term_key, words

STATISTICS_SAMPLE = 20_000
"""Candidates whose cosines give mean and spread when an index named the nearest: up to here all, beyond a sample."""
KEYWORD_CANDIDATES = 200
"""Best rows by keyword that are scored fully beside those an index named."""
_NO_PRIOR = 1e-9


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the semantic strategy says.

    Attributes:
        vector: (dim,) the query's meaning.
        products: (n,) q·x of the query's and each row's vector; nan where unknown.
        cosines: (n,) the same, smoothed where rows have an order.
        known: (n,) rows whose cosines give mean and spread, None for all candidates.
        open: (n,) rows that can be returned, None for all.
        is_partial: whether an index named the nearest, so that the rows it did not name are not scored.
    """

    vector: FloatArray
    products: Scores
    cosines: Scores
    known: BoolArray | None
    open: BoolArray | None
    is_partial: bool = False

    def plain(self, corpus: Corpus) -> Scores:
        """(n,) true cosines, unsmoothed: an average of unit vectors, as queries and memories are, is shorter than 1."""
        lengths = corpus.vector_norms(np.arange(corpus.size)) * max(float(np.linalg.norm(self.vector)), 1e-12)
        return self.products / np.maximum(lengths, 1e-12)

    def including(self, corpus: Corpus, rows: IntArray, *, smooth: bool) -> "Meaning":
        """The same with more rows scored, which can then be returned."""
        products = self.products.copy()
        beside = _with_neighbours(corpus, rows)
        products[beside] = corpus.products(self.vector, beside)
        opened = np.zeros(corpus.size, np.bool_) if self.open is None else self.open.copy()
        opened[rows] = True
        cosines = smoothed(products, corpus.order, corpus.smooth_norms) if smooth else products
        return replace(self, products=products, cosines=cosines, open=opened)


@dataclass(frozen=True, slots=True)
class Names:
    """What the entity strategy says.

    Attributes:
        identifiers: identifiers of the whole query in the content.
        places: words of the whole query in the file paths of the content.
        titled: rows whose title the query's main line says word for word.
    """

    identifiers: TermScores
    places: TermScores
    titled: IntArray


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for each row; None for a strategy that did not take part.

    Attributes:
        keyword: words and pairs of neighbouring words of the query's main line in the text.
        entity: identifiers, file paths and titles the query names.
        temporal: (n,) how well each row's time fits the times the query names, 0..1.
        semantic: likeness of meaning.
    """

    keyword: TermScores | None = None
    entity: Names | None = None
    temporal: Scores | None = None
    semantic: Meaning | None = None


def lengths_of(corpus: Corpus, scope: Scope) -> Lengths:
    """How long rows are, and their means over the candidates."""
    rows = corpus.columns.lengths
    # Whole numbers, so that their sums are exact; taking the candidates out first takes twenty times as long.
    weights = np.ones(corpus.size, np.bool_) if scope.mask is None else scope.mask
    means = np.einsum("ij,j->i", rows, weights, dtype=np.float64) / max(scope.count, 1)
    return Lengths(rows, means, scope.count)


def named(corpus: Corpus, scope: Scope, name: str) -> int:
    """How many candidates hold a name in text or content; 0 for several names."""
    if len(name.split()) != 1:
        return 0
    keys = [term_key("identifier", name.lower())]
    if len(plain_title_words(name)) == 1:  # a path is no word of a text
        keys += [term_key("word", whole) for whole in words(name)[:1]]
    rows = np.unique(find(corpus.segments, np.array(keys, np.uint64)).rows)
    return int(np.count_nonzero(corpus.live[rows] if scope.mask is None else scope.mask[rows]))


def by_keyword(
    corpus: Corpus, terms: QueryTerms, scope: Scope, *, lengths: Lengths, without: frozenset[Stage]
) -> TermScores:
    """Words and pairs in the text."""
    chosen = of_kinds(terms, "word") if "pairs" in without else of_kinds(terms, "word", "pair")
    prior = _NO_PRIOR if "length_prior" in without else LENGTH_PRIOR
    return term_scores(chosen, corpus.segments, lengths=lengths, mask=scope.mask, length_prior=prior)


def by_entity(
    corpus: Corpus, terms: QueryTerms, scope: Scope, *, line: str, lengths: Lengths, without: frozenset[Stage]
) -> Names:
    """Identifiers and file paths in the content, and titles that stand in the query's main `line`."""

    def found(kind: Kind) -> TermScores:
        return term_scores(of_kinds(terms, kind), corpus.segments, lengths=lengths, mask=scope.mask)

    titled = np.empty(0, np.int64)
    if corpus.titled and "names" not in without:
        rows = linked_rows(line, corpus.segments, live=corpus.live)
        titled = rows if scope.mask is None else rows[scope.mask[rows]]
    return Names(found("identifier"), found("path"), titled)


def by_time(corpus: Corpus, intent: Intent) -> Scores:
    """(n,) how well each row fits the times the query names, or states one where the query asks when; 0..1."""
    columns = corpus.columns
    return temporal_scores(
        intent.times,
        np.where(columns.dated, columns.occurred, np.nan),
        valid=(columns.valid_from, columns.valid_to),
        stating=rows_stating_times(corpus.segments) if intent.asks_when else None,
    )


def by_meaning(
    corpus: Corpus,
    vector: FloatArray,
    scope: Scope,
    *,
    near: IntArray | None,
    others: Evidence,
    without: frozenset[Stage],
) -> Meaning:
    """Cosines with every candidate, or, where an index named the nearest, with them and the best of other strategies.

    Args:
        corpus: the workspace.
        vector: (dim,) the query's meaning.
        scope: which rows are candidates.
        near: rows an index found nearest, or None to compare all.
        others: what the other strategies found.
        without: parts of the rule that are left out.
    """
    smooth = "neighbour_vectors" not in without
    if near is None:
        products = corpus.products(vector)
        cosines = smoothed(products, corpus.order, corpus.smooth_norms) if smooth else products
        return Meaning(vector, products, cosines, scope.mask, scope.mask)
    candidates = np.arange(corpus.size) if scope.mask is None else np.flatnonzero(scope.mask)
    chosen = _with_neighbours(corpus, np.concatenate([near, *_promising(others)]))
    sample = candidates[:: max(1, len(candidates) // STATISTICS_SAMPLE)]
    unscored = np.full(corpus.size, np.nan)
    nothing = Meaning(vector, unscored, unscored, _marked(corpus.size, sample), None, is_partial=True)
    scored = nothing.including(corpus, np.union1d(chosen, sample), smooth=smooth)
    return replace(scored, open=_marked(corpus.size, np.intersect1d(chosen, candidates)))


def _promising(others: Evidence) -> list[IntArray]:
    """Rows that other strategies found, to be compared by meaning too."""
    found: list[IntArray] = []
    if others.keyword is not None:
        points = others.keyword.points
        found.append(best_rows(np.where(points > 0, points, -np.inf), KEYWORD_CANDIDATES))
    if others.entity is not None:
        found.append(others.entity.titled)
    return found


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
