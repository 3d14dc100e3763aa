"""What holds for any scores, any filters, any order of storing."""

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasoning_bank.records import MemoryItem, Query, Stage, Trust
from reasoning_bank.retrieval.composition import composed
from reasoning_bank.retrieval.corpus import Batch, Corpus, embedded, empty_corpus, grown
from reasoning_bank.retrieval.fusion import (
    ASKING,
    FULL_CODE_SHARE,
    TELLING,
    Scores,
    best_rows,
    code_degree,
    fuse,
    silence,
    z_scores,
)
from reasoning_bank.retrieval.lexical import ALWAYS_KEPT_TERMS, pruned, query_terms
from reasoning_bank.retrieval.postings import (
    FloatArray,
    IntArray,
    Segment,
    add_segment,
    build_segment,
    find,
    frequencies,
    unpack_terms,
)
from reasoning_bank.retrieval.ranking import best_first, likeness, rank, relevance_of
from reasoning_bank.retrieval.relevance import EVEN_ODDS, relevance, shared_words
from reasoning_bank.retrieval.scope import Scope, find_scope
from reasoning_bank.retrieval.strategies import Evidence, by_entity, by_keyword, by_meaning, lengths_of
from reasoning_bank.storage import memories
from reasoning_bank.storage.embeddings import StoredVector
from reasoning_bank.text.analyser import TOLD_ENOUGH, Terms, analyse, analyse_query
from reasoning_bank.vectors.exact import VectorMatrix, compose
from tests.retrieval.bank import START, SmallBank

DIM = 8
FINITE = st.floats(-100, 100, allow_nan=False, width=32)
SCORES = st.lists(FINITE, min_size=1, max_size=40)
WORDS = ["table", "index", "login", "timeout", "bread", "dough", "parse_json", "HTTPServer", "the", "to"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)


def items_of(texts: Sequence[str]) -> list[tuple[str, MemoryItem]]:
    """Texts as memories; some have a title, content, or a place in a session, always the same for the same text."""
    items: list[tuple[str, MemoryItem]] = []
    for number, text in enumerate(texts):
        in_session = number % 3 == 0
        item = MemoryItem(
            text,
            title=text.split()[0] if number % 4 == 0 else "",
            content=text[::-1],
            session="s" if in_session else None,
            position=number if in_session else None,
        )
        items.append((f"id{number:03d}", item))
    return items


def vector_of(text: str) -> FloatArray:
    # Sixteenths: their products are exact, so equal texts score equal in any row of a matrix.
    return np.random.default_rng(sum(map(ord, text))).integers(-8, 9, DIM).astype(np.float32) / np.float32(16)


def corpus_of(items: Sequence[tuple[str, MemoryItem]], *, at_once: int = 1000, pending: int = 0) -> Corpus:
    matrix = VectorMatrix(DIM)
    corpus = empty_corpus(matrix)
    for start in range(0, len(items), at_once):
        some = items[start : start + at_once]
        corpus = grown(corpus, matrix, batch_of(some))
        known = some[: max(0, len(items) - pending - start)]
        if known:
            vectors = np.stack([vector_of(item.text) for _, item in known])
            corpus = embedded(corpus, matrix, [([each for each, _ in known], vectors)])
    return corpus


def batch_of(items: Sequence[tuple[str, MemoryItem]]) -> Batch:
    return Batch(
        ids=[each for each, _ in items],
        terms=[analyse(item).packed() for _, item in items],
        outcomes=[item.outcome for _, item in items],
        domains=[item.domain for _, item in items],
        occurred=[0.0 for _ in items],
        dated=[False for _ in items],
        valid=[(-np.inf, np.inf) for _ in items],
        sessions=[item.session for _, item in items],
        positions=[np.nan if item.position is None else item.position for _, item in items],
    )


@dataclass(frozen=True, slots=True)
class Ranked:
    """The best rows, best first, and the absolute relevance of each."""

    rows: IntArray
    relevance: Scores


def ranked(corpus: Corpus, text: str, *, limit: int = 50, near: Sequence[int] | None = None) -> Ranked:
    rows = None if near is None else np.array(near, np.int64)
    terms, vector = query_terms(analyse_query(text)), vector_of(text)
    scope = Scope(None if corpus.live_count == corpus.size else corpus.live, corpus.live_count)
    lengths, everything = lengths_of(corpus, scope), frozenset[Stage]()
    keyword = by_keyword(corpus, terms, scope, lengths=lengths, without=everything)
    evidence = Evidence(
        keyword=keyword,
        entity=by_entity(corpus, terms, scope, line=text, lengths=lengths, without=everything),
        semantic=by_meaning(corpus, vector, scope, near=rows, others=Evidence(keyword), without=everything),
    )
    ranking = rank(corpus, evidence, scope, text_of=lambda _: text)
    best = best_first(corpus, ranking.scores, limit)
    return Ranked(best, relevance_of(evidence, likeness(corpus, ranking.meaning, scope), best))


def named(corpus: Corpus, result: Ranked) -> list[str]:
    return [corpus.names.ids[row] for row in result.rows.tolist()]


@given(SCORES, st.randoms(use_true_random=False))
def test_z_scores_move_with_their_values(values: list[float], random: Random) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    scores = np.array(values)
    assert z_scores(scores[order], None) == pytest.approx(z_scores(scores, None)[order], abs=1e-6)


@given(SCORES, FINITE, st.floats(0.01, 100))
def test_z_scores_ignore_scale_and_shift(values: list[float], shift: float, scale: float) -> None:
    scores = np.array(values)
    if scores.std() > 1e-3:
        assert z_scores(scores * scale + shift, None) == pytest.approx(z_scores(scores, None), abs=1e-3)


def test_z_scores_of_equal_values_are_zero_and_unknown_ones_too() -> None:
    assert z_scores(np.array([0.1 + 0.2, 0.3]), None).tolist() == [0.0, 0.0]
    assert z_scores(np.array([np.nan, 1.0, 3.0]), None).tolist() == [0.0, -1.0, 1.0]
    assert z_scores(np.full(3, np.nan), None).tolist() == [0.0, 0.0, 0.0]


def test_z_scores_count_candidates_only() -> None:
    scores = z_scores(np.array([1.0, 3.0, 1000.0]), np.array([True, True, False]))
    assert scores[:2].tolist() == [-1.0, 1.0]


@given(SCORES)
def test_without_keyword_matches_the_dense_order_stays(values: list[float]) -> None:
    dense, nothing = z_scores(np.array(values), None), np.zeros(len(values))
    fused = fuse(dense, *[z_scores(nothing, None)] * 3, degree=0.5)
    assert np.argsort(fused, kind="stable").tolist() == np.argsort(dense, kind="stable").tolist()


@given(SCORES, st.integers(1, 50))
def test_best_rows_hold_the_best_and_their_equals(values: list[float], limit: int) -> None:
    scores = np.array(values)
    rows = best_rows(scores, limit)
    assert len(rows) >= min(limit, len(values))
    left = np.setdiff1d(np.arange(len(values)), rows)
    assert not len(left) or scores[left].max() < scores[rows].min()


@pytest.mark.parametrize("limit", [2, 10, 21, 2_000])
@pytest.mark.parametrize("different", [3, 500, 10**9])
def test_best_rows_of_many_are_those_of_a_sorted_list(limit: int, different: int) -> None:
    scores = np.random.default_rng(limit).integers(0, different, 20_011).astype(np.float64)
    scores[::7] = -np.inf
    least = np.sort(scores)[-limit]
    assert best_rows(scores, limit).tolist() == np.flatnonzero(scores >= least).tolist()


def test_code_degree_is_read_from_the_best_candidates() -> None:
    dense, lexical = np.linspace(0, 1, 30), np.zeros(30)
    assert code_degree(dense, lexical, np.full(30, 0.2, np.float32)) == 1.0
    assert code_degree(dense, lexical, np.where(dense > 0.6, 0.0, 0.2).astype(np.float32)) == 0.0
    assert code_degree(np.full(3, np.nan), np.zeros(3), np.ones(3, np.float32)) == 0.0


@given(st.lists(TEXTS, min_size=1, max_size=20), TEXTS, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_the_order_of_storing_does_not_matter(texts: list[str], query: str, random: Random) -> None:
    items = items_of(texts)
    shuffled = list(items)
    random.shuffle(shuffled)
    one, other = corpus_of(items), corpus_of(shuffled, at_once=3)
    assert named(one, ranked(one, query)) == named(other, ranked(other, query))


@given(st.lists(TEXTS, min_size=2, max_size=20), TEXTS)
@settings(deadline=None, max_examples=40)
def test_equal_memories_come_in_the_order_of_their_ids(texts: list[str], query: str) -> None:
    copies = [(f"id{number:03d}", MemoryItem(texts[0])) for number in range(len(texts))]
    corpus = corpus_of(copies)
    assert named(corpus, ranked(corpus, query)) == sorted(each for each, _ in copies)


@given(st.lists(TEXTS, min_size=1, max_size=12), st.lists(TEXTS, max_size=6), TEXTS)
@settings(deadline=None, max_examples=40)
def test_a_patched_corpus_answers_like_a_fresh_one(texts: list[str], changed: list[str], query: str) -> None:
    items = dict(items_of(texts))
    corpus = corpus_of(list(items.items()), pending=2)
    matrix = VectorMatrix(DIM)
    corpus = grown(empty_corpus(matrix), matrix, batch_of(list(items.items())))
    corpus = embedded(corpus, matrix, [(list(items), np.stack([vector_of(item.text) for item in items.values()]))])
    for place, text in enumerate(changed):
        each = f"id{place:03d}"
        item = replace(items.get(each, MemoryItem("")), text=text)
        items[each] = item
        corpus = grown(corpus, matrix, batch_of([(each, item)]))
        corpus = embedded(corpus, matrix, [([each], vector_of(text)[None])])
    gone = list(items)[::4]
    corpus = grown(corpus, matrix, batch_of([]), gone=gone)
    fresh = corpus_of([(each, item) for each, item in items.items() if each not in gone])
    assert named(corpus, ranked(corpus, query)) == named(fresh, ranked(fresh, query))
    assert ranked(corpus, query).relevance == pytest.approx(ranked(fresh, query).relevance, abs=1e-5)


@given(st.lists(TEXTS, min_size=1, max_size=20), TEXTS)
@settings(deadline=None, max_examples=40)
def test_an_index_that_names_every_row_changes_nothing(texts: list[str], query: str) -> None:
    corpus = corpus_of(items_of(texts), pending=1)
    exact, near = ranked(corpus, query), ranked(corpus, query, near=range(corpus.size))
    assert named(corpus, near) == named(corpus, exact)
    assert near.relevance == pytest.approx(exact.relevance)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 9)), min_size=1, max_size=60), st.integers(0, 10**6))
def test_pruning_never_drops_the_twelve_rarest(terms: list[tuple[int, int]], memory_count: int) -> None:
    frequency = {f"t{number}": min(often, 9) for number, often in terms}
    blobs = [Terms({term: 1 for term, often in frequency.items() if often > row}, {}, {}).packed() for row in range(9)]
    segments = (build_segment(unpack_terms(blobs), 0),)
    query = query_terms(Terms(dict.fromkeys(frequency, 1), {}, {}))
    kept, _ = pruned(query, segments, memories=memory_count)
    counts = frequencies(segments, query.keys)
    rarest = set(query.keys[np.argsort(counts, kind="stable")[:ALWAYS_KEPT_TERMS]].tolist())
    assert rarest <= set(kept.keys.tolist())
    if memory_count <= 10_000:
        assert len(kept.keys) == len(query.keys)


@given(st.lists(st.dictionaries(st.sampled_from(string.ascii_letters), st.integers(1, 5)), min_size=1, max_size=30))
def test_segments_find_what_was_put_in_however_they_were_merged(bags: list[dict[str, int]]) -> None:
    segments: tuple[Segment, ...] = ()
    for row, bag in enumerate(bags):
        segments = add_segment(segments, build_segment(unpack_terms([Terms(bag, {}, {}).packed()]), row))
    assert len(segments) <= len(bags).bit_length()
    wanted = query_terms(Terms(dict.fromkeys(string.ascii_letters, 1), {}, {}))
    matches = find(segments, wanted.keys)
    names = dict(zip(wanted.keys.tolist(), string.ascii_letters, strict=True))
    got: list[dict[str, int]] = [{} for _ in bags]
    for term, row, often in zip(matches.terms, matches.rows, matches.counts, strict=True):
        got[row][names[int(wanted.keys[term])]] = int(often)
    assert got == bags


def test_what_only_asks_or_tells_little_answers_less_unless_it_is_code() -> None:
    asking, told = np.array([0, 1, 0, 1], np.float32), np.array([TOLD_ENOUGH, 0, 5, 0], np.float32)
    lost = silence(asking, told, np.array([0, 0, 0, FULL_CODE_SHARE], np.float32))
    assert lost.tolist() == pytest.approx([0, ASKING + TELLING, TELLING * 2 / 3, 0])


SHARES = st.floats(0, 1)


@given(st.floats(-1, 1), st.floats(-1, 1), SHARES, SHARES, SHARES, st.integers(1, 10**6))
def test_relevance_is_a_probability_and_grows_with_the_evidence(
    cosine: float, best: float, words: float, pairs: float, names: float, candidates: int
) -> None:
    def score(words: float, known: float) -> float:
        shared = shared_words(np.array([words]), np.array([pairs]), np.array([names]))
        return relevance(np.array([known]), shared, best=max(best, cosine), candidates=candidates)[0]

    for known in (cosine, np.nan):
        assert 0 <= score(words, known) <= score(min(1.0, words + 0.1), known) <= 1


def test_even_odds_are_where_the_floor_is() -> None:
    nothing = np.zeros(1)
    assert relevance(np.array([EVEN_ODDS]), nothing, best=EVEN_ODDS, candidates=1)[0] == pytest.approx(0.5)


def test_more_memories_and_a_bank_that_knows_nothing_of_it_lower_relevance() -> None:
    alike, nothing = np.array([0.5]), np.zeros(1)
    assert relevance(alike, nothing, best=0.5, candidates=1000) < relevance(alike, nothing, best=0.5, candidates=1)
    weak = np.array([0.3])
    assert relevance(weak, nothing, best=0.3, candidates=10) < relevance(weak, nothing, best=0.7, candidates=10)


def test_without_a_vector_a_memory_that_shares_no_word_is_irrelevant() -> None:
    unknown = np.array([np.nan, np.nan])
    scores = relevance(unknown, np.array([1.0, 0.0]), best=np.nan, candidates=2)
    assert scores[0] > 0.5
    assert scores[1] == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from(["text", "content"]), st.integers(0, 2)), max_size=30, unique=True
    )
)
def test_composing_many_is_composing_each(parts: list[tuple[int, str, int]]) -> None:
    rng, weights = np.random.default_rng(len(parts)), {"text": 1.0, "content": 0.4}
    stored = [
        StoredVector(f"m{memory}", field, chunk, weights[field], rng.normal(size=DIM).astype("<f4").tobytes())
        for memory, field, chunk in sorted(parts)
    ]
    found = {each: row for ids, rows in composed(stored, DIM) for each, row in zip(ids, rows, strict=True)}
    assert list(found) == sorted({row.id for row in stored})
    for each, vector in found.items():
        own = [row for row in stored if row.id == each]
        expected = compose((row.field, row.weight, np.frombuffer(row.vector, "<f4")) for row in own)
        assert vector == pytest.approx(expected, abs=1e-5)


FILTERED = st.builds(
    Query,
    task=st.just("x"),
    tags=st.lists(st.sampled_from(["Sql", "web", "Ärger"]), max_size=2, unique=True).map(tuple),
    domain=st.sampled_from([None, "data", "Web"]),
    outcome=st.sampled_from(["any", "success", "failure"]),
    include_failures=st.booleans(),
    since=st.sampled_from([None, datetime(2024, 6, 1, tzinfo=UTC)]),
    until=st.sampled_from([None, datetime(2025, 6, 1, tzinfo=UTC)]),
)


@given(FILTERED, st.integers(-2, 3))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
async def test_filters_answer_as_sql_does(bank: SmallBank, query: Query, days: int) -> None:
    await _fill(bank)
    now = START + timedelta(days=days)
    expected = await bank.database.read(
        lambda connection: memories.scoped_ids(
            connection,
            "w",
            now=now,
            tags=query.tags,
            domain=query.domain,
            outcome=query.outcome,
            since=query.since,
            until=query.until,
            include_failures=query.include_failures,
        )
    )
    retriever = bank.retriever()
    await retriever.warm("w")
    picture = retriever._workspaces.latest("w")
    assert picture is not None
    scope = find_scope(picture.corpus, query, now)
    rows = range(picture.corpus.size) if scope.mask is None else np.flatnonzero(scope.mask).tolist()
    if expected is not None:
        assert sorted(picture.corpus.names.ids[row] for row in rows) == sorted(expected)
    assert scope.count == len(rows)


_TIMES_AND_TRUST: tuple[tuple[str | None, Trust], ...] = (
    (None, "normal"),
    ("2024-01-01", "low"),
    ("2024-01-01", "quarantined"),
    ("2025-01-01", "normal"),
)


async def _fill(bank: SmallBank) -> None:
    if await bank.database.read(lambda connection: memories.list_page(connection, "w", limit=1)):
        return
    numbers = count()
    items = [
        MemoryItem(
            f"memory {next(numbers)}",
            tags=tags,
            domain=domain,
            outcome=outcome,
            time=time,
            valid_from=START + timedelta(days=1) if outcome == "partial" else None,
            valid_to=START + timedelta(days=2) if outcome == "failure" else None,
            trust=trust,
        )
        for tags in ((), ("sql",), ("SQL", "Web"), ("ärger",))
        for domain in (None, "data", "web")
        for outcome in ("unknown", "success", "failure", "partial")
        for time, trust in _TIMES_AND_TRUST
    ]
    ids = await bank.store("w", *items, embed=False)
    await bank.database.write(lambda connection: memories.soft_delete(connection, "w", ids[::7], START))
