"""One workspace as arrays: what every search reads, never changed, replaced by a newer one.

A corpus is a snapshot: readers need no lock and see one moment. `grown` and `embedded` make the next snapshot from
the last, sharing all that stays the same. A changed memory gets a new row, and its old row dies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.records import Outcome
from reasoning_bank.retrieval.fusion import Scores, silence
from reasoning_bank.retrieval.postings import (
    FloatArray,
    IntArray,
    Segment,
    TermTable,
    add_segment,
    build_segment,
    unpack_terms,
)
from reasoning_bank.retrieval.sequence import Order, extended, find_order, smoothed_norms
from reasoning_bank.retrieval.vocabulary import Vocabulary, empty_vocabulary
from reasoning_bank.retrieval.vocabulary import extended as with_terms
from reasoning_bank.text.analyser import HEADER_ROWS, KIND_SHIFT, KINDS
from reasoning_bank.vectors.exact import MatrixView, VectorMatrix

OUTCOMES: tuple[Outcome, ...] = ("unknown", "success", "failure", "partial")
"""Outcomes by their number in `Columns.outcomes`."""

BoolArray = NDArray[np.bool_]
_TITLE = KINDS.index("title")
# Blocks stay in the processor's cache; three copies of 100,000 vectors at once would be half a gigabyte.
_NORMS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Batch:
    """Memories to add, as parallel lists.

    Attributes:
        terms: packed terms (`Terms.packed`).
        occurred: seconds since 1970 of when each happened or was stored.
        dated: whether that is when it happened.
        valid: (from, to) in microseconds since 1970, infinite where open.
        sessions: name of the session, None for none.
        positions: place in the session, nan where unknown.
    """

    ids: Sequence[str]
    terms: Sequence[bytes]
    outcomes: Sequence[Outcome]
    domains: Sequence[str | None]
    occurred: Sequence[float]
    dated: Sequence[bool]
    valid: Sequence[tuple[float, float]]
    sessions: Sequence[str | None]
    positions: Sequence[float]


@dataclass(frozen=True, slots=True)
class Columns:
    """What is known of each row; all (n,), `lengths` (4, n) in the order words, pairs, identifiers, places."""

    lengths: FloatArray
    code_share: FloatArray
    asks: BoolArray
    silence: FloatArray
    outcomes: NDArray[np.int8]
    domains: IntArray
    occurred: Scores
    dated: BoolArray
    valid_from: Scores
    valid_to: Scores
    sessions: IntArray
    positions: Scores


@dataclass(frozen=True, slots=True)
class Names:
    """Names to numbers, shared by all snapshots of a workspace and only ever added to."""

    ids: list[str]
    rows: dict[str, int]
    domains: dict[str, int]
    sessions: dict[str, int]


@dataclass(frozen=True, slots=True)
class Corpus:
    """All memories of a workspace at one moment.

    Attributes:
        names: ids and other names by number; may already know rows of newer snapshots.
        columns: what is known of each row.
        segments: postings of all terms.
        vocabulary: which terms occur at all.
        live: (n,) False where a row was forgotten or replaced.
        live_count: rows that are live.
        timeless: True when no live row has a validity window, so that time hides nothing.
        titled: True when some row has a title that can link memories.
        order: who stands beside whom in a session.
        view: the vectors.
        vector_rows: (n,) row of each memory in `view`, -1 while it has no vector.
        smooth_norms: (n,) length of each vector smoothed by its neighbours, 1 where it has none.
    """

    names: Names
    columns: Columns
    segments: tuple[Segment, ...]
    vocabulary: Vocabulary
    live: BoolArray
    live_count: int
    timeless: bool
    titled: bool
    order: Order
    view: MatrixView
    vector_rows: IntArray
    smooth_norms: FloatArray

    @property
    def size(self) -> int:
        """Rows, dead ones included."""
        return len(self.live)

    def row_of(self, memory_id: str) -> int:
        """The live row of an id, -1 when there is none at this moment."""
        row = self.names.rows.get(memory_id, -1)
        return row if 0 <= row < self.size and self.live[row] else -1

    def rows_of(self, ids: Sequence[str]) -> IntArray:
        """(m,) live rows of those ids that have one."""
        rows = np.array([self.row_of(each) for each in ids], dtype=np.int64)
        return rows[rows >= 0]

    def products(self, query: FloatArray, rows: IntArray | None = None) -> Scores:
        """Float64 q·x of every row, or of `rows`; nan where a row is dead or has no vector (yet)."""
        places = self.vector_rows if rows is None else self.vector_rows[rows]
        if not self.view.size:
            return np.full(len(places), np.nan)
        scores = (
            _rounded(self.view.scores(query))[places] if rows is None else _rounded(self.view.scores(query, places))
        )
        scores[places < 0] = np.nan
        return scores

    def vector_norms(self, rows: IntArray) -> Scores:
        """(m,) float64 length of each row's vector, nan where it has none."""
        norms = np.append(self.view.norms(), np.float32(np.nan))
        return norms[self.vector_rows[rows]].astype(np.float64)


def _rounded(products: FloatArray) -> Scores:
    # A product's last digits depend on where in the matrix its row is; equal memories must come out equal, so that
    # their ids decide in every process.
    return np.round(products.astype(np.float64), 5)


def empty_corpus(matrix: VectorMatrix) -> Corpus:
    """A workspace without memories, whose vectors will be kept in `matrix`."""
    floats, ints = np.empty(0, np.float64), np.empty(0, np.int64)
    columns = Columns(
        lengths=np.empty((HEADER_ROWS, 0), np.float32),
        code_share=np.empty(0, np.float32),
        asks=np.empty(0, np.bool_),
        silence=np.empty(0, np.float32),
        outcomes=np.empty(0, np.int8),
        domains=ints,
        occurred=floats,
        dated=np.empty(0, np.bool_),
        valid_from=floats,
        valid_to=floats,
        sessions=ints,
        positions=floats,
    )
    live = np.empty(0, np.bool_)
    return Corpus(
        names=Names([], {}, {}, {}),
        columns=columns,
        segments=(),
        vocabulary=empty_vocabulary(),
        live=live,
        live_count=0,
        timeless=True,
        titled=False,
        order=find_order(ints, floats, live),
        view=matrix.view,
        vector_rows=ints,
        smooth_norms=np.empty(0, np.float32),
    )


def grown(corpus: Corpus, matrix: VectorMatrix, batch: Batch, *, gone: Sequence[str] = ()) -> Corpus:
    """The corpus with memories added or replaced and others gone; added ones have no vectors yet.

    Args:
        corpus: the snapshot to go on from.
        matrix: where the workspace's vectors are kept; those of replaced and gone memories are dropped from it.
        batch: memories to add, each at most once.
        gone: ids to remove; unknown ones change nothing.
    """
    matrix.delete([*gone, *batch.ids])
    first, names = corpus.size, corpus.names
    dead = np.concatenate([corpus.rows_of(gone), corpus.rows_of(batch.ids)])
    live = np.append(corpus.live, np.ones(len(batch.ids), np.bool_))
    live[dead] = False
    columns, segments, titled = corpus.columns, corpus.segments, corpus.titled
    vocabulary = corpus.vocabulary
    if batch.ids:
        # What a patch that failed half-way left behind.
        del names.ids[first:]
        table = unpack_terms(batch.terms)
        columns = _joined(columns, _columns(batch, table, names))
        segment = build_segment(table, first)
        segments = add_segment(segments, segment)
        vocabulary = with_terms(vocabulary, segment.keys, segments=segments)
        titled = titled or bool((table.keys >> np.uint64(KIND_SHIFT) == _TITLE).any())
        names.ids.extend(batch.ids)
        # Older snapshots look rows up here too: a row past their end reads as unknown to them.
        names.rows.update((each, first + place) for place, each in enumerate(batch.ids))
    grown_corpus = replace(
        corpus,
        columns=columns,
        segments=segments,
        vocabulary=vocabulary,
        live=live,
        live_count=int(np.count_nonzero(live)),
        timeless=bool(np.isinf(columns.valid_from[live]).all() and np.isinf(columns.valid_to[live]).all()),
        titled=titled,
        order=_next_order(corpus, columns, live, dead),
        view=matrix.view,
        vector_rows=np.append(corpus.vector_rows, np.full(len(batch.ids), -1, np.int64)),
        smooth_norms=np.append(corpus.smooth_norms, np.ones(len(batch.ids), np.float32)),
    )
    return _with_norms(grown_corpus, touched=np.arange(first, len(live)), previous=corpus.order)


def embedded(corpus: Corpus, matrix: VectorMatrix, blocks: Iterable[tuple[Sequence[str], FloatArray]]) -> Corpus:
    """The corpus with vectors for some of its memories; vectors of unknown ids are ignored.

    Args:
        corpus: the snapshot to go on from.
        matrix: where the workspace's vectors are kept; patched here.
        blocks: (ids, (m, dim) float32 vectors); each id at most once.
    """
    vector_rows = corpus.vector_rows.copy()
    touched: list[IntArray] = []
    for ids, vectors in blocks:
        rows = np.array([corpus.row_of(each) for each in ids], dtype=np.int64)
        known = np.flatnonzero(rows >= 0)
        known_ids = [ids[place] for place in known.tolist()]
        matrix.upsert(known_ids, vectors[known])
        vector_rows[rows[known]] = matrix.view.rows_of(known_ids)
        touched.append(rows[known])
    if not touched:
        return corpus
    next_corpus = replace(corpus, view=matrix.view, vector_rows=vector_rows)
    return _with_norms(next_corpus, touched=np.concatenate(touched), previous=corpus.order)


def _next_order(corpus: Corpus, columns: Columns, live: BoolArray, dead: IntArray) -> Order:
    changed = np.concatenate([dead, np.arange(corpus.size, len(live))])
    if np.any(columns.sessions[changed] >= 0):
        return find_order(columns.sessions, columns.positions, live)
    # Sorting all sessions of 100,000 memories takes longer than the rest of the patch.
    return extended(corpus.order, len(live) - corpus.size)


def _columns(batch: Batch, table: TermTable, names: Names) -> Columns:
    valid = np.array(batch.valid, dtype=np.float64)
    return Columns(
        lengths=table.lengths,
        code_share=table.code_share,
        asks=table.asks,
        silence=silence(table.asking, table.told, table.code_share),
        outcomes=np.array([OUTCOMES.index(each) for each in batch.outcomes], dtype=np.int8),
        domains=_numbers(batch.domains, names.domains),
        occurred=np.array(batch.occurred, dtype=np.float64),
        dated=np.array(batch.dated, dtype=np.bool_),
        valid_from=valid[:, 0],
        valid_to=valid[:, 1],
        sessions=_numbers(batch.sessions, names.sessions),
        positions=np.array(batch.positions, dtype=np.float64),
    )


def _numbers(values: Sequence[str | None], numbers: dict[str, int]) -> IntArray:
    return np.array([-1 if each is None else numbers.setdefault(each, len(numbers)) for each in values], dtype=np.int64)


def _joined(left: Columns, right: Columns) -> Columns:
    return Columns(
        np.concatenate([left.lengths, right.lengths], axis=1),
        *(
            np.concatenate([getattr(left, name), getattr(right, name)])
            for name in Columns.__slots__
            if name != "lengths"
        ),
    )


def _with_norms(corpus: Corpus, *, touched: IntArray, previous: Order) -> Corpus:
    """The corpus with smoothed lengths made anew where a row, its vector or a neighbour changed."""
    order = corpus.order
    if not len(order.rows) or not corpus.view.size:
        return corpus
    old = len(previous.before)
    moved = np.flatnonzero((order.before[:old] != previous.before) | (order.after[:old] != previous.after))
    # A row that lost its neighbour is `moved`; one whose neighbour got another vector is beside a touched row.
    near = np.concatenate([touched, order.before[touched], order.after[touched], moved])
    rows = np.intersect1d(near, order.rows)
    norms = corpus.smooth_norms.copy()
    for start in range(0, len(rows), _NORMS_AT_ONCE):
        some = rows[start : start + _NORMS_AT_ONCE]
        beside = _vectors(corpus, order.before[some]), _vectors(corpus, order.after[some])
        norms[some] = smoothed_norms(_vectors(corpus, some), *beside)
    return replace(corpus, smooth_norms=norms)


def _vectors(corpus: Corpus, rows: IntArray) -> FloatArray:
    """(m, dim) vectors of rows, zeros where the row is -1 or has none."""
    places = np.where(rows < 0, -1, corpus.vector_rows[rows])
    vectors = corpus.view.vectors(places)
    vectors[places < 0] = 0.0
    return vectors
