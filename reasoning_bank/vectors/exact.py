"""Exact vector search: one matrix per workspace in this process, patched as the truth changes."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.records import Hit
from reasoning_bank.vectors.index import Candidates, IndexState, Vector, ids_digest

SMALLEST_CAPACITY = 64
ROUNDING = 1e-6
MOMENT_BLOCK = 4096
"""Rows multiplied at once while summing outer products: float32 speed, float64 between blocks."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over live rows, from which mean and sd of q·x follow for any q without touching the rows."""

    total: NDArray[np.float64]
    outer: NDArray[np.float64]


class MatrixView:
    """The matrix as it stood at one moment; never changes, so row numbers and scores of one view belong together.

    Attributes:
        size: rows, deleted ones included: valid row numbers are 0..size-1.
        live: (size,) bool, False where a row was deleted or replaced.
        live_count: rows that are live.
        sums: what `moments` works from; None until someone asked, then kept up to date by each patch.
    """

    __slots__ = ("_ids", "_norms", "_rows", "_vectors", "live", "live_count", "size", "sums")

    def __init__(
        self,
        ids: Sequence[str],
        rows: Mapping[str, int],
        vectors: Vector,
        norms: Vector,
        *,
        live: NDArray[np.bool_],
        sums: Moments | None = None,
    ) -> None:
        self._ids = ids
        self._rows = rows
        self._vectors = vectors
        self._norms = norms
        self.sums = sums
        self.live = live
        self.size = len(live)
        self.live_count = int(np.count_nonzero(live))

    def row_of(self, memory_id: str) -> int:
        """Return the live row of an id, or -1."""
        row = self._rows.get(memory_id, -1)
        # The map is shared with newer views: a row past our end was added after us.
        return row if 0 <= row < self.size and self.live[row] else -1

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """Return the live row of each id, -1 where there is none; (n,) int."""
        get = self._rows.get
        rows = np.fromiter((get(each, -1) for each in ids), dtype=np.intp, count=len(ids))
        rows[rows >= self.size] = -1
        known = rows >= 0
        rows[known] = np.where(self.live[rows[known]], rows[known], -1)
        return rows

    def ids_of(self, rows: Iterable[int]) -> list[str]:
        """Return the id of each row."""
        return [self._ids[row] for row in rows]

    def live_ids(self) -> list[str]:
        """Return the ids of all live rows, in row order."""
        return self.ids_of(np.flatnonzero(self.live).tolist())

    def scores(self, query: Vector, rows: NDArray[np.intp] | None = None) -> Vector:
        """Return q·x per row: all rows (nan where deleted), or only `rows` (nan where -1 or deleted)."""
        if rows is None:
            scores = _products(self._vectors, query)
            if self.live_count < self.size:
                scores[~self.live] = np.nan
            return scores
        scores = _products(self._vectors[rows], query) if self.size else np.empty(len(rows), np.float32)
        missing = rows < 0
        if self.live_count < self.size:
            missing |= ~self.live[rows]
        scores[missing] = np.nan
        return scores

    def vectors(self, rows: NDArray[np.intp]) -> Vector:
        """Return a copy of these rows, (n, dim)."""
        return self._vectors[rows]

    def norms(self, rows: NDArray[np.intp] | None = None) -> Vector:
        """Return the Euclidean length of all rows or of `rows`, to turn q·x into a cosine."""
        return self._norms if rows is None else self._norms[rows]

    def moments(self, query: Vector) -> tuple[float, float]:
        """Return mean and standard deviation of q·x over live rows; (0, 0) when there are none.

        Exact without scoring the rows: mean = q·Σx/n, E[(q·x)²] = q'(Σxx')q/n.
        """
        if not self.live_count:
            return 0.0, 0.0
        sums = self._summed()
        wide = query.astype(np.float64)
        mean = float(wide @ sums.total) / self.live_count
        square = float(wide @ sums.outer @ wide) / self.live_count
        variance = square - mean * mean
        # What float32 rounding leaves of equal scores must not become a spread that z-scores are divided by.
        return mean, float(np.sqrt(variance)) if variance > ROUNDING * square else 0.0

    def nearest(self, query: Vector, limit: int) -> tuple[Hit, ...]:
        """Return the `limit` live rows of highest cosine, best first, ties by id."""
        cosines = self.scores(query) / np.maximum(self._norms * np.linalg.norm(query), np.finfo(np.float32).tiny)
        rows = np.flatnonzero(self.live)
        if limit < len(rows):
            kept = cosines[rows]
            # Everything as good as the last place stays in until the ids decide.
            rows = rows[kept >= np.partition(kept, len(kept) - limit)[len(kept) - limit]]
        hits = [Hit(self._ids[row], float(cosines[row])) for row in rows.tolist()]
        return tuple(sorted(hits, key=lambda hit: (-hit.score, hit.id))[:limit])

    def _summed(self) -> Moments:
        if self.sums is None:
            # Two threads may both compute it: the results are equal, and either may stay.
            self.sums = _sum_rows(self._vectors[self.live] if self.live_count < self.size else self._vectors)
        return self.sums


class VectorMatrix:
    """Vectors of one workspace and one model, for many reading threads and one patching at a time.

    Rows are written once: a replaced vector gets a new row and the old one dies, so a reader never sees half
    of an update. Reads that belong together take one `view`. Row numbers stay valid until `compact`.
    """

    def __init__(self, dim: int) -> None:
        """Make an empty matrix for vectors of `dim` components."""
        self.dim = dim
        self._patching = threading.Lock()
        self._vectors: Vector = np.empty((0, dim), np.float32)
        self._norms: Vector = np.empty(0, np.float32)
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._view = MatrixView([], {}, self._vectors, self._norms, live=np.empty(0, np.bool_))

    @property
    def view(self) -> MatrixView:
        """The matrix as it stands now."""
        return self._view

    def __len__(self) -> int:
        """Return the number of live rows."""
        return self._view.live_count

    def upsert(self, ids: Sequence[str], vectors: Vector) -> None:
        """Add or replace vectors, (n, dim); the last one wins when an id comes twice.

        Raises:
            ValueError: the shape is not (len(ids), dim).
        """
        if vectors.shape != (len(ids), self.dim):
            raise ValueError(f"vectors have shape {vectors.shape}, expected {(len(ids), self.dim)}")
        if not ids:
            return
        last = {each: place for place, each in enumerate(ids)}
        block = np.ascontiguousarray(vectors if len(last) == len(ids) else vectors[list(last.values())], np.float32)
        with self._patching:
            self._append(list(last), block)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove vectors; unknown ids change nothing."""
        with self._patching:
            view = self._view
            rows = view.rows_of(ids)
            rows = np.unique(rows[rows >= 0])
            if len(rows):
                live = view.live.copy()
                live[rows] = False
                self._publish(live, gone=rows)

    def compact(self) -> None:
        """Drop dead rows; row numbers change, so callers that keep some must ask for them again."""
        with self._patching:
            kept = np.flatnonzero(self._view.live)
            self._ids = self._view.ids_of(kept.tolist())
            self._rows = {each: row for row, each in enumerate(self._ids)}
            self._vectors = self._vectors[kept]
            self._norms = self._norms[kept]
            self._publish(np.ones(len(kept), np.bool_))

    def row_of(self, memory_id: str) -> int:
        """Return the live row of an id now, or -1."""
        return self._view.row_of(memory_id)

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """Return the live rows of the ids now, -1 where there is none."""
        return self._view.rows_of(ids)

    def scores(self, query: Vector) -> Vector:
        """Return q·x of every row now, nan where deleted."""
        return self._view.scores(query)

    def vectors(self, rows: NDArray[np.intp]) -> Vector:
        """Return a copy of these rows, (n, dim)."""
        return self._view.vectors(rows)

    def moments(self, query: Vector) -> tuple[float, float]:
        """Return mean and standard deviation of q·x over live rows."""
        return self._view.moments(query)

    def _append(self, ids: list[str], block: Vector) -> None:
        old = self._view
        start, end = old.size, old.size + len(ids)
        self._make_room(end)
        self._vectors[start:end] = block
        self._norms[start:end] = np.linalg.norm(block, axis=1)
        replaced = old.rows_of(ids)
        replaced = replaced[replaced >= 0]
        if len(replaced):
            # Older views share the map; they must go on finding the old row of what is replaced here.
            self._rows = dict(self._rows)
        self._rows.update(zip(ids, range(start, end), strict=True))
        self._ids.extend(ids)
        live = np.ones(end, np.bool_)
        live[:start] = old.live
        live[replaced] = False
        self._publish(live, gone=replaced, added=block)

    def _make_room(self, rows: int) -> None:
        if rows <= len(self._vectors):
            return
        capacity = max(rows, 2 * len(self._vectors), SMALLEST_CAPACITY)
        size = self._view.size
        vectors, norms = np.empty((capacity, self.dim), np.float32), np.empty(capacity, np.float32)
        vectors[:size], norms[:size] = self._vectors[:size], self._norms[:size]
        self._vectors, self._norms = vectors, norms

    def _publish(
        self, live: NDArray[np.bool_], *, gone: NDArray[np.intp] | None = None, added: Vector | None = None
    ) -> None:
        size, sums = len(live), self._view.sums
        if sums is not None and gone is not None and len(gone):
            minus = _sum_rows(self._vectors[gone])
            sums = Moments(sums.total - minus.total, sums.outer - minus.outer)
        if sums is not None and added is not None:
            plus = _sum_rows(added)
            sums = Moments(sums.total + plus.total, sums.outer + plus.outer)
        self._view = MatrixView(self._ids, self._rows, self._vectors[:size], self._norms[:size], live=live, sums=sums)


class ExactIndex:
    """A `VectorIndex` without an index: every answer is computed over all vectors, always complete and ready."""

    def __init__(self, *, model_id: str, dim: int) -> None:
        """Make an empty index for vectors of one model."""
        self._model_id = model_id
        self._dim = dim
        self._matrices: dict[str, VectorMatrix] = {}
        self._applied: dict[str, int] = {}

    def matrix(self, workspace: str) -> VectorMatrix:
        """Return the matrix of a workspace, empty when nothing was applied yet."""
        return self._matrices.setdefault(workspace, VectorMatrix(self._dim))

    async def apply(
        self, workspace: str, upserts: Sequence[tuple[str, Vector]], deletes: Sequence[str], *, seq: int
    ) -> None:
        """Bring the workspace to change `seq`."""
        matrix = self.matrix(workspace)
        matrix.delete(deletes)
        if upserts:
            matrix.upsert([each for each, _ in upserts], np.stack([vector for _, vector in upserts]))
        self._applied[workspace] = max(seq, self._applied.get(workspace, 0))

    async def nearest(self, workspace: str, query: Vector, limit: int) -> Candidates | None:
        """Return the exact nearest ids by cosine, best first."""
        applied = self._applied.get(workspace, 0)
        return Candidates(self.matrix(workspace).view.nearest(query, limit), applied, self._model_id)

    async def state(self, workspace: str) -> IndexState:
        """Return what was applied to the workspace."""
        view = self.matrix(workspace).view
        applied = self._applied.get(workspace, 0)
        return IndexState("ready", applied, view.live_count, ids_digest(view.live_ids()), self._model_id)

    async def close(self) -> None:
        """Forget the vectors."""
        self._matrices.clear()
        self._applied.clear()


def compose(parts: Iterable[tuple[str, float, Vector]]) -> Vector:
    """Return the one vector of a memory from its (field, weight, vector) parts, (dim,) float32.

    x = Σ_fields weight · mean over the field's chunks / Σ_fields weight. Not normalised again: a memory whose
    fields disagree is shorter, which is what keeps it from winning on one of them alone.

    Raises:
        ValueError: there are no parts.
    """
    fields: dict[str, tuple[float, list[Vector]]] = {}
    for name, weight, vector in parts:
        fields.setdefault(name, (weight, []))[1].append(vector)
    if not fields:
        raise ValueError("a memory without embedded fields has no vector")
    total = sum(weight for weight, _ in fields.values())
    mixed = sum(weight * np.mean(chunks, axis=0, dtype=np.float64) for weight, chunks in fields.values())
    return np.asarray(mixed / total, np.float32)


def _products(rows: Vector, query: Vector) -> Vector:
    # Not `rows @ query`: BLAS shares that out to threads that wait for each other, which on a busy machine takes 70
    # times as long, and sums a row differently depending on where it lies, so that equal vectors would differ in the
    # last bits and ties would depend on history.
    return np.vecdot(rows, query)


def _sum_rows(rows: Vector) -> Moments:
    dim = rows.shape[1]
    outer = np.zeros((dim, dim), np.float64)
    for start in range(0, len(rows), MOMENT_BLOCK):
        block = rows[start : start + MOMENT_BLOCK]
        outer += block.T @ block
    return Moments(rows.sum(axis=0, dtype=np.float64), outer)
