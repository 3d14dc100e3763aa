"""What an index has to learn from the truth: composed vectors of memories, all of them or those that changed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, pairwise

import numpy as np
from sqlalchemy import Connection

from reasoning_bank.storage import changes, embeddings, memories
from reasoning_bank.storage.embeddings import StoredVector
from reasoning_bank.vectors.index import Vector

MEMORIES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Delta:
    """Changes of one workspace up to `seq`.

    Attributes:
        upserts: (id, (dim,) vector) of memories that are live and embedded.
        deletes: ids that are forgotten, superseded, or not embedded (yet).
        complete: False when there are more changes after `seq`.
    """

    upserts: list[tuple[str, Vector]]
    deletes: list[str]
    seq: int
    complete: bool


def read_delta(connection: Connection, workspace: str, model_id: str, *, after: int, limit: int) -> Delta:
    """Return the next `limit` changes after `after`, as the state their memories are in now."""
    log = changes.since(connection, workspace, after, limit)
    # Counters change with every search and say nothing about vectors.
    touched = list(dict.fromkeys(change.memory_id for change in log if change.op != "counters"))
    live = [row.id for row in memories.load_for_index(connection, workspace, touched) if row.live]
    ids, vectors = read_vectors(connection, workspace, model_id, live)
    gone = set(touched).difference(ids)
    return Delta(
        upserts=list(zip(ids, vectors, strict=True)),
        deletes=[each for each in touched if each in gone],
        seq=log[-1].seq if log else after,
        complete=len(log) < limit,
    )


def read_vectors(
    connection: Connection, workspace: str, model_id: str, ids: Sequence[str] | None = None
) -> tuple[list[str], Vector]:
    """Return ids and composed vectors, (n, dim): of all live memories, or of these ids in any state.

    Memories without vectors of the model are absent; with none at all the shape is (0, 0).
    """
    found: list[str] = []
    blocks: list[Vector] = []
    for some, block in composed(embeddings.load(connection, workspace, model_id, ids)):
        found.extend(some)
        blocks.append(block)
    return found, np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32)


def embedded_ids(connection: Connection, workspace: str, model_id: str) -> list[str]:
    """Return the ids of the live memories that have vectors of a model, in the order they were stored."""
    rows = embeddings.load(connection, workspace, model_id)
    return [memory_id for memory_id, _ in groupby(rows, key=lambda row: row.id)]


def composed(rows: Iterable[StoredVector]) -> Iterator[tuple[list[str], Vector]]:
    """Yield ids and their composed vectors, (n, dim) float32, some thousand memories at a time.

    The same as `exact.compose` of each memory. Rows of one memory, and in it of one field, must come together.
    """
    grouped = groupby(rows, key=lambda row: row.id)
    while group := [list(own) for _, own in islice(grouped, MEMORIES_AT_ONCE)]:
        yield [own[0].id for own in group], _composed([row for own in group for row in own])


def _composed(rows: list[StoredVector]) -> Vector:
    parts = np.frombuffer(b"".join(row.vector for row in rows), "<f4").reshape(len(rows), -1)
    starts_memory = np.array([True, *(one.id != other.id for one, other in pairwise(rows))])
    other_field = np.array([True, *(one.field != other.field for one, other in pairwise(rows))])
    starts_field = starts_memory | other_field
    memory, field = np.cumsum(starts_memory) - 1, np.cumsum(starts_field) - 1
    weights = np.array([row.weight for row in rows])
    total = np.bincount(memory[starts_field], weights=weights[starts_field])
    shares = weights / np.bincount(field)[field] / total[memory]
    weighted = parts * shares[:, None].astype(np.float32)
    return np.add.reduceat(weighted, np.flatnonzero(starts_memory), axis=0)
