"""Vectors: one row per memory, field, chunk and model, and which model the bank answers with."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, exists, func, select
from sqlalchemy.dialects.sqlite import insert

from reasoning_bank.records import JsonValue
from reasoning_bank.storage import changes, facts
from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.memory_rows import dumped, loaded_mapping
from reasoning_bank.storage.schema import embedding_models, embeddings, memories
from reasoning_bank.storage.scope import is_live, is_searchable
from reasoning_bank.storage.timestamps import from_micros, to_micros

_ACTIVE = "active_embedding_model"
_ROWS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class EmbeddingRow:
    """A vector to keep.

    Attributes:
        content_hash: sha256 hex of the text that was embedded; equal text and model is never embedded twice.
        weight: share of this field in the memory's vector.
        vector: `dim` little-endian float32, a unit row.
        memory_hash: content hash of the memory when its text was read; where it differs by now, the vector is
            of words the memory no longer has and is not kept. None keeps it in any case.
    """

    memory_id: str
    workspace: str
    field: str
    chunk: int
    model_id: str
    dim: int
    precision: str
    content_hash: str
    weight: float
    vector: bytes
    memory_hash: str | None = None


class StoredVector(NamedTuple):
    """A kept vector; a tuple, because 100,000 of them are made at once."""

    id: str
    field: str
    chunk: int
    weight: float
    vector: bytes


@dataclass(frozen=True, slots=True)
class Model:
    """An embedding model the bank has, or had, vectors of."""

    model_id: str
    identity: Mapping[str, JsonValue]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many live memories there are and how many of them have vectors of a model."""

    live: int
    embedded: int


def register_model(connection: Connection, model_id: str, identity: Mapping[str, JsonValue], now: datetime) -> None:
    """Makes a model known, unless it is; the first model of a bank becomes the active one."""
    row = insert(embedding_models).values(model_id=model_id, identity=dumped(dict(identity)), created_at=to_micros(now))
    connection.execute(row.on_conflict_do_nothing())
    facts.put_once(connection, _ACTIVE, model_id)


def models(connection: Connection) -> list[Model]:
    """All models in the order they came."""
    rows = connection.execute(select(embedding_models).order_by(embedding_models.c.number))
    return [Model(row.model_id, loaded_mapping(row.identity), from_micros(row.created_at)) for row in rows]


def active_model(connection: Connection) -> str | None:
    """The model whose vectors answer questions, or None in a bank that has none."""
    return facts.get(connection, _ACTIVE)


def activate(connection: Connection, model_id: str) -> None:
    """Answers with another model from now on, in every process."""
    facts.put(connection, _ACTIVE, model_id)


def put(connection: Connection, rows: Sequence[EmbeddingRow]) -> set[tuple[str, str]]:
    """Keeps vectors, over those of the same memory, field, chunk and model; their models must be registered.

    Returns:
        (workspace, id) of the memories that got some; a memory that is gone or has other words by now is left out.
    """
    models = _model_numbers(connection, {row.model_id for row in rows})
    by_workspace: dict[str, list[EmbeddingRow]] = {}
    for row in rows:
        by_workspace.setdefault(row.workspace, []).append(row)
    kept: set[tuple[str, str]] = set()
    for workspace, its in by_workspace.items():
        memory_of = _memories(connection, workspace, {row.memory_id for row in its})
        current = [row for row in its if _is_current(row, memory_of)]
        if current:
            values = [_values(row, memory_of[row.memory_id][0], models[row.model_id]) for row in current]
            connection.execute(_PUT, values)
        ids = dict.fromkeys(row.memory_id for row in current)
        changes.append(connection, workspace, ids, "embedded")
        kept |= {(workspace, id_) for id_ in ids}
    return kept


def load(
    connection: Connection, workspace: str, model_id: str, ids: Sequence[str] | None = None
) -> Iterator[StoredVector]:
    """Vectors of a model: of searchable memories in the order they were stored, or of these ids in any state and order.

    The rows of one memory come together, by field and chunk.
    """
    number = _model_numbers(connection, [model_id]).get(model_id)
    if number is None:
        return
    mine = _LOAD.where(memories.c.workspace == workspace, embeddings.c.model == number)
    if ids is None:
        live = mine.where(is_searchable()).order_by(memories.c.seq, embeddings.c.field, embeddings.c.chunk)
        for part in connection.execute(live.execution_options(yield_per=_ROWS_AT_ONCE)).partitions():
            yield from map(StoredVector._make, part)
        return
    for some in batches(ids):
        # Sorted here: asked for an order, SQLite reads the whole workspace in that order instead of looking up a few.
        yield from sorted(map(StoredVector._make, connection.execute(mine.where(memories.c.id.in_(some)))))


def missing(
    connection: Connection, model_id: str, workspace: str | None = None, limit: int = 1000
) -> list[tuple[str, str]]:
    """(workspace, id) of live memories without vectors of a model, in no particular order."""
    statement = select(memories.c.workspace, memories.c.id).where(is_live(), ~_has_vectors(model_id))
    if workspace is not None:
        statement = statement.where(memories.c.workspace == workspace)
    return list(connection.execute(statement.limit(limit)))


def embedded(connection: Connection, model_id: str, workspace: str, ids: Iterable[str]) -> set[str]:
    """Those of the ids that have vectors of a model, forgotten memories too."""
    found: set[str] = set()
    for some in batches(ids):
        mine = (memories.c.workspace == workspace) & memories.c.id.in_(some)
        found.update(connection.scalars(select(memories.c.id).where(mine, _has_vectors(model_id))))
    return found


def coverage(connection: Connection, model_id: str, workspace: str | None = None) -> Coverage:
    """How far a model has come, in one workspace or in all."""
    statement = select(func.count(), func.count().filter(_has_vectors(model_id)))
    statement = statement.select_from(memories).where(is_live())
    if workspace is not None:
        statement = statement.where(memories.c.workspace == workspace)
    return Coverage(*connection.execute(statement).one())


def known(connection: Connection, model_id: str, content_hashes: Iterable[str]) -> dict[str, bytes]:
    """Content hash to a vector the model made of that text, for those that are kept somewhere in the bank."""
    number = _model_numbers(connection, [model_id]).get(model_id)
    found: dict[str, bytes] = {}
    for some in batches(content_hashes if number is not None else ()):
        statement = select(embeddings.c.content_hash, embeddings.c.vector).where(
            embeddings.c.content_hash.in_(some), embeddings.c.model == number
        )
        found |= dict(connection.execute(statement).all())
    return found


def _model_numbers(connection: Connection, model_ids: Iterable[str]) -> dict[str, int]:
    table = embedding_models
    statement = select(table.c.model_id, table.c.number).where(table.c.model_id.in_(list(model_ids)))
    return dict(connection.execute(statement).all())


def _memories(connection: Connection, workspace: str, ids: Iterable[str]) -> dict[str, tuple[int, str]]:
    """By id, the number and the content hash of those that are there."""
    found: dict[str, tuple[int, str]] = {}
    columns = (memories.c.id, memories.c.seq, memories.c.content_hash)
    for some in batches(ids):
        mine = select(*columns).where(memories.c.workspace == workspace, memories.c.id.in_(some))
        found |= {id_: (seq, content_hash) for id_, seq, content_hash in connection.execute(mine)}
    return found


def _is_current(row: EmbeddingRow, memory_of: Mapping[str, tuple[int, str]]) -> bool:
    found = memory_of.get(row.memory_id)
    return found is not None and row.memory_hash in (None, found[1])


def _has_vectors(model_id: str) -> Any:
    number = select(embedding_models.c.number).where(embedding_models.c.model_id == model_id).scalar_subquery()
    return exists(1).where(embeddings.c.memory == memories.c.seq, embeddings.c.model == number)


def _values(row: EmbeddingRow, memory: int, model: int) -> dict[str, Any]:
    return {
        "memory": memory,
        "model": model,
        "field": row.field,
        "chunk": row.chunk,
        "weight": row.weight,
        "dim": row.dim,
        "precision": row.precision,
        "content_hash": row.content_hash,
        "vector": row.vector,
    }


_PUT = insert(embeddings).prefix_with("OR REPLACE")
_LOAD = select(memories.c.id, embeddings.c.field, embeddings.c.chunk, embeddings.c.weight, embeddings.c.vector).join(
    embeddings, embeddings.c.memory == memories.c.seq
)
