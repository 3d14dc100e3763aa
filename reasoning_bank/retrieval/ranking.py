"""The rule from evidence to an order of all candidates: one configuration for every kind of data.

Steps in turn: one weighted sum of what the strategies say, one step along titles, neighbours, sessions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from heapq import nsmallest

import numpy as np

from reasoning_bank.records import Stage
from reasoning_bank.retrieval.corpus import Corpus
from reasoning_bank.retrieval.fusion import FIXED_DEGREE, Scores, best_rows, code_degree, fuse, room, z_scores
from reasoning_bank.retrieval.lexical import TermScores
from reasoning_bank.retrieval.links import LINKING_HITS, NAMED, linked_rows, with_links
from reasoning_bank.retrieval.postings import IntArray
from reasoning_bank.retrieval.relevance import relevance, shared_words
from reasoning_bank.retrieval.scope import Scope
from reasoning_bank.retrieval.sequence import around, lifted_by_neighbours, lifted_by_session
from reasoning_bank.retrieval.strategies import Evidence, Meaning
from reasoning_bank.retrieval.temporal import TEMPORAL_BOOST
from reasoning_bank.text.analyser import Kind

SHARING_ROWS = 2_000
"""Best rows whose sessions share scores among neighbours: no session without one of them can still come first."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """All candidates judged.

    Attributes:
        scores: (n,) what speaks for each row, in standard deviations of the candidates; -inf for no candidates.
        degree: how much the likely answers are code, 0..1.
        meaning: what the semantic strategy says, of linked rows too.
    """

    scores: Scores
    degree: float
    meaning: Meaning | None


@dataclass(frozen=True, slots=True)
class Likeness:
    """True cosines of the query with every row.

    Attributes:
        cosines: (n,) nan where unknown.
        best: the highest among the candidates, nan when none is known.
        candidates: how many there are.
    """

    cosines: Scores
    best: float
    candidates: int


def rank(
    corpus: Corpus,
    evidence: Evidence,
    scope: Scope,
    *,
    text_of: Callable[[int], str],
    names_alone: bool = False,
    without: frozenset[Stage] = frozenset(),
) -> Ranking:
    """Judge every candidate.

    Args:
        corpus: the workspace.
        evidence: what the strategies found.
        scope: which rows may be returned; every statistic is over them only.
        text_of: reads the text of a row; called for the best hits, and only where items have titles.
        names_alone: whether the query is nothing but names of code.
        without: parts of the rule that are left out.
    """
    meaning = evidence.semantic
    scores, degree = _fused(corpus, evidence, scope, names_alone=names_alone, without=without)
    links = [] if "links" in without else _links(corpus, scores, scope, text_of)
    if meaning is not None and meaning.is_partial and links:
        # Candidates of an index are scored exactly, and so are those that the best of them mention.
        mentioned = np.unique(np.concatenate([rows for _, rows in links]))
        meaning = meaning.including(corpus, mentioned, smooth="neighbour_vectors" not in without)
        evidence = replace(evidence, semantic=meaning)
        scores, degree = _fused(corpus, evidence, scope, names_alone=names_alone, without=without)
    scores = with_links(scores, links)
    scores = _shared(corpus, scores, without)
    share = room(scope.count)
    # After that, so that a question still lifts the answer beside it, and a date only what is of that date.
    if evidence.temporal is not None:
        scores = scores + share * TEMPORAL_BOOST * evidence.temporal
    if "telling" not in without:
        scores = scores - share * corpus.columns.silence
    return Ranking(scores, degree, meaning)


def best_first(corpus: Corpus, scores: Scores, limit: int) -> IntArray:
    """Rows by descending score, ties by id, whatever order the rows are in; rows at -inf are left out."""
    usable: list[int] = best_rows(scores, limit).tolist()
    ids = corpus.names.ids
    keyed = ((-float(scores[row]), ids[row], row) for row in usable)
    return np.array([row for _, _, row in nsmallest(limit, keyed)], dtype=np.int64)


def likeness(corpus: Corpus, meaning: Meaning | None, scope: Scope) -> Likeness:
    """How like the query rows are by meaning."""
    if meaning is None:
        return Likeness(np.full(corpus.size, np.nan), np.nan, scope.count)
    cosines = meaning.plain(corpus)
    among = cosines if scope.mask is None else cosines[scope.mask]
    known = among[~np.isnan(among)]
    return Likeness(cosines, float(known.max()) if len(known) else np.nan, scope.count)


def relevance_of(evidence: Evidence, like: Likeness, rows: IntArray) -> Scores:
    """(m,) absolute relevance, 0..1, of the best rows; best first, the very best included."""
    words = _words(evidence, rows)
    return relevance(like.cosines[rows], words, best=like.best, candidates=like.candidates)


def _words(evidence: Evidence, rows: IntArray) -> Scores:
    nothing = np.zeros(len(rows))
    words = pairs = names = nothing
    if evidence.keyword is not None:
        words, pairs = (_covered(evidence.keyword, kind, rows) for kind in ("word", "pair"))
    if evidence.entity is not None:
        names = _covered(evidence.entity.identifiers, "identifier", rows)
    return shared_words(words, pairs, names)


def _covered(found: TermScores, kind: Kind, rows: IntArray) -> Scores:
    coverage = found.coverage.get(kind)
    return np.zeros(len(rows)) if coverage is None else coverage[rows]


def _fused(
    corpus: Corpus, evidence: Evidence, scope: Scope, *, names_alone: bool, without: frozenset[Stage]
) -> tuple[Scores, float]:
    nothing = np.zeros(corpus.size)
    meaning = evidence.semantic
    cosines = np.full(corpus.size, np.nan) if meaning is None else meaning.cosines
    known, allowed = (scope.mask, scope.mask) if meaning is None else (meaning.known, meaning.open)
    words = nothing if evidence.keyword is None else evidence.keyword.points
    names, places = nothing, nothing
    if evidence.entity is not None:
        names = evidence.entity.identifiers.points
        places = nothing if "places" in without else evidence.entity.places.points
    degree = FIXED_DEGREE
    if "code_share" not in without:
        rows = slice(None) if allowed is None else allowed
        degree = code_degree(cosines[rows], words[rows], corpus.columns.code_share[rows])
    spread = float((words if scope.mask is None else words[scope.mask]).std()) if scope.count else 0.0
    scores = fuse(
        z_scores(cosines, known),
        z_scores(words, scope.mask),
        z_scores(names, scope.mask),
        places / spread if spread > 0 else nothing,
        degree=degree,
        names_alone=names_alone,
    )
    if evidence.entity is not None:
        scores[evidence.entity.titled] += NAMED * room(scope.count)
    if allowed is not None:
        scores[~allowed] = -np.inf
    return scores, degree


def _links(corpus: Corpus, scores: Scores, scope: Scope, text_of: Callable[[int], str]) -> list[tuple[int, IntArray]]:
    """Each of the best hits with the candidates whose title it mentions."""
    hits: list[int] = best_first(corpus, scores, LINKING_HITS).tolist() if corpus.titled else []
    links: list[tuple[int, IntArray]] = []
    for hit in hits:
        rows = linked_rows(text_of(hit), corpus.segments, live=corpus.live)
        allowed = rows if scope.mask is None else rows[scope.mask[rows]]
        links.append((hit, allowed[allowed != hit]))
    return links


def _shared(corpus: Corpus, scores: Scores, without: frozenset[Stage]) -> Scores:
    order = corpus.order
    if len(order.rows) > SHARING_ROWS:
        order = around(order, best_rows(scores, SHARING_ROWS))
    if "neighbours" not in without:
        asks = np.zeros(corpus.size, np.bool_) if "answers" in without else corpus.columns.asks
        scores = lifted_by_neighbours(scores, order, asks)
    return scores if "session" in without else lifted_by_session(scores, order)
