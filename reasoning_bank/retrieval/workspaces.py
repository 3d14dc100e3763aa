"""The corpora of the workspaces in use, kept as fresh as the truth.

Before each search the bank's data version is compared; only when some process committed something is the change
log read, and only what changed is read again.
"""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
from sqlalchemy import Connection

from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.records import Memory, Outcome
from reasoning_bank.retrieval.composition import composed
from reasoning_bank.retrieval.corpus import Batch, Corpus, embedded, empty_corpus, grown
from reasoning_bank.storage import changes, embeddings, memories
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.memories import IndexRow
from reasoning_bank.text.analyser import ANALYSER_VERSION, analyse
from reasoning_bank.vectors.exact import VectorMatrix

_CHANGES_AT_ONCE = 10_000
_RELOAD_ABOVE_CHANGES = 20_000
_RELOAD_ABOVE_DEAD_ROWS = 1_000
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """Which stored vectors can be compared with a query: those of one model."""

    model_id: str
    dim: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A workspace as it was known at change `seq`.

    Attributes:
        version: data version of the bank up to which there were no later changes.
        space: the model whose vectors the corpus holds, or None for none.
    """

    corpus: Corpus
    seq: int
    version: int
    space: VectorSpace | None


class _Kept:
    """One workspace: its picture, and the lock of whoever makes the next one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.picture: Picture | None = None
        self.matrix = VectorMatrix(1)


class Workspaces:
    """Pictures of the workspaces searched lately, for any number of threads.

    Args:
        database: the truth.
        memory_cache: where read memories are kept, by (workspace, id); patched here when a memory changes.
        kept: workspaces kept in memory; the one unused for longest goes first.
    """

    def __init__(self, database: Database, *, memory_cache: MemoryCache[Memory], kept: int = 64) -> None:
        self._database = database
        self._memories = memory_cache
        self._kept = kept
        self._workspaces: OrderedDict[str, _Kept] = OrderedDict()
        self._visits: Counter[str] = Counter()
        self._visited: dict[str, _Kept] = {}
        self._choosing = threading.Lock()

    def latest(self, workspace: str) -> Picture | None:
        """The picture last made of a workspace, maybe outdated, or None; asking for it is a use."""
        with self._choosing:
            kept = self._used(workspace)
        return kept.picture if kept else None

    @contextmanager
    def visiting(self, workspace: str) -> Generator[None]:
        """While it lasts, searches of a workspace are no use of it: a picture made for them is dropped at the end.

        Otherwise one search of every workspace would drop the pictures of those in use.
        """
        with self._choosing:
            self._visits[workspace] += 1
        try:
            yield
        finally:
            with self._choosing:
                self._visits[workspace] -= 1
                if not self._visits[workspace]:
                    del self._visits[workspace]
                    self._visited.pop(workspace, None)

    def current(self, connection: Connection, workspace: str, space: VectorSpace | None) -> Picture:
        """A picture that holds all that was committed before this call.

        Args:
            connection: a read transaction in which nothing was read yet, so that it sees what the version promises.
            workspace: whose memories.
            space: the vectors to load, or None to go without.
        """
        version = self._database.data_version()
        kept = self._of(workspace)
        picture = kept.picture
        if picture is not None and picture.version == version and picture.space == space:
            return picture
        with kept.lock:
            picture = kept.picture
            if picture is None or picture.version != version or picture.space != space:
                # Names and vectors are shared by all snapshots: one that fails half-way leaves nothing to go on from.
                kept.picture = None
                picture = self._newer(connection, workspace, picture, kept, version=version, space=space)
                kept.picture = picture
            return picture

    def read(
        self, connection: Connection, workspace: str, ids: Sequence[str], *, picture: Picture
    ) -> dict[str, Memory]:
        """Memories by id, from the cache where they did not change since; ids that are gone are absent."""
        found = {each: memory for each in ids if (memory := self._memories.get((workspace, each))) is not None}
        if missing := [each for each in ids if each not in found]:
            started = time.perf_counter()
            fresh = memories.by_ids(connection, workspace, missing)
            cost_s = (time.perf_counter() - started) / len(missing)
            self._keep(workspace, fresh.values(), picture, cost_s)
            found |= fresh
        return found

    def _keep(self, workspace: str, fresh: Iterable[Memory], picture: Picture, cost_s: float) -> None:
        with self._choosing:
            kept = self._used(workspace)
        # While another thread makes a newer picture it drops what changed from the cache: what was read before must
        # not be put back after that.
        if kept is None or not kept.lock.acquire(blocking=False):
            return
        try:
            if kept.picture is picture:
                for memory in fresh:
                    self._memories.put((workspace, memory.id), memory, cost_s=cost_s)
        finally:
            kept.lock.release()

    def _of(self, workspace: str) -> _Kept:
        with self._choosing:
            kept = self._used(workspace)
            if kept is not None:
                return kept
            kept = _Kept()
            if workspace in self._visits:
                self._visited[workspace] = kept
                return kept
            self._workspaces[workspace] = kept
            if len(self._workspaces) > self._kept:
                self._workspaces.popitem(last=False)
            return kept

    def _used(self, workspace: str) -> _Kept | None:
        kept = self._workspaces.get(workspace)
        if kept is None:
            return self._visited.get(workspace)
        if workspace not in self._visits:
            self._workspaces.move_to_end(workspace)
        return kept

    def _newer(
        self,
        connection: Connection,
        workspace: str,
        old: Picture | None,
        kept: _Kept,
        *,
        version: int,
        space: VectorSpace | None,
    ) -> Picture:
        changed = None
        if old is not None and old.space == space:
            changed = _changes_since(connection, workspace, old.seq)
        if old is None or changed is None or _is_worn(old.corpus):
            seq = changes.last_seq(connection, workspace)
            kept.matrix = VectorMatrix(space.dim if space else 1)
            corpus = _loaded(connection, workspace, kept.matrix, space)
            # Nobody watched the changes of a workspace that was not kept: what is cached of it may be outdated.
            self._memories.clear(workspace)
            return Picture(corpus, seq, version, space)
        if not changed:
            return Picture(old.corpus, old.seq, version, space)
        corpus = _patched(connection, workspace, old.corpus, changed, matrix=kept.matrix, space=space)
        self._forget(workspace, {change.memory_id for change in changed})
        return Picture(corpus, changed[-1].seq, version, space)

    def _forget(self, workspace: str, ids: Iterable[str]) -> None:
        for each in ids:
            self._memories.invalidate((workspace, each))


def _is_worn(corpus: Corpus) -> bool:
    dead = max(corpus.size - corpus.live_count, corpus.view.size - corpus.view.live_count)
    return dead > _RELOAD_ABOVE_DEAD_ROWS and dead > corpus.live_count


def _changes_since(connection: Connection, workspace: str, seq: int) -> list[changes.Change] | None:
    """Changes after `seq`, or None when they are so many that reading all anew is faster."""
    found: list[changes.Change] = []
    while some := changes.since(connection, workspace, seq, _CHANGES_AT_ONCE):
        found += some
        seq = some[-1].seq
        if len(found) > _RELOAD_ABOVE_CHANGES:
            return None
    return found


def _loaded(connection: Connection, workspace: str, matrix: VectorMatrix, space: VectorSpace | None) -> Corpus:
    rows = list(memories.load_for_index(connection, workspace))
    corpus = grown(empty_corpus(matrix), matrix, _batch(connection, workspace, rows))
    if space is None:
        return corpus
    return embedded(corpus, matrix, composed(embeddings.load(connection, workspace, space.model_id), space.dim))


def _patched(
    connection: Connection,
    workspace: str,
    corpus: Corpus,
    changed: Sequence[changes.Change],
    *,
    matrix: VectorMatrix,
    space: VectorSpace | None,
) -> Corpus:
    rewritten = list({change.memory_id for change in changed if change.op not in {"embedded", "counters"}})
    if rewritten:
        rows = [row for row in memories.load_for_index(connection, workspace, rewritten) if row.live]
        alive = {row.id for row in rows}
        gone = [each for each in rewritten if each not in alive]
        corpus = grown(corpus, matrix, _batch(connection, workspace, rows), gone=gone)
    moved = list({change.memory_id for change in changed if change.op != "counters"})
    if space is None or not moved:
        return corpus
    return embedded(corpus, matrix, composed(embeddings.load(connection, workspace, space.model_id, moved), space.dim))


def _batch(connection: Connection, workspace: str, rows: Sequence[IndexRow]) -> Batch:
    return Batch(
        ids=[row.id for row in rows],
        terms=_terms(connection, workspace, rows),
        outcomes=cast("list[Outcome]", [row.outcome for row in rows]),
        domains=[row.domain and row.domain.casefold() for row in rows],
        occurred=[row.occurred_at for row in rows],
        dated=[bool(row.dated) for row in rows],
        valid=[
            (-np.inf if row.valid_from is None else row.valid_from, np.inf if row.valid_to is None else row.valid_to)
            for row in rows
        ],
        sessions=[row.session or _moment(row) for row in rows],
        positions=[np.nan if row.position is None else row.position for row in rows],
    )


def _terms(connection: Connection, workspace: str, rows: Sequence[IndexRow]) -> list[bytes]:
    """Packed terms; those of another version of the analyser are made anew, so that both sides of a search agree."""
    outdated = [row.id for row in rows if row.analyser_version != ANALYSER_VERSION]
    if not outdated:
        return [row.terms for row in rows]
    items = memories.by_ids(connection, workspace, outdated)
    anew = {each: analyse(memory.item).packed() for each, memory in items.items()}
    return [anew.get(row.id, row.terms) for row in rows]


def _moment(row: IndexRow) -> str | None:
    """A stand-in for an unknown session: what people said at one instant belongs together, in an unknown order.

    Only a time of day tells an instant; midnight is a date that had none.
    """
    if row.actor is None or not row.dated or row.occurred_at % _DAY_S == 0:
        return None
    return f"\0at {row.occurred_at!r}"
