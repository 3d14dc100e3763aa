"""How far each derived index has come; deleting a row only makes the index be built anew."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select
from sqlalchemy.dialects.sqlite import insert

from reasoning_bank.storage.schema import index_state
from reasoning_bank.storage.timestamps import from_micros, to_micros


@dataclass(frozen=True, slots=True)
class IndexState:
    """What an index says of itself.

    Attributes:
        name: which index, such as "chroma".
        generation: which build of it; a rebuild is a new one.
        applied_seq: the change up to which it is complete.
        count, digest: how many ids it holds, and a hash of them.
        status: a word of the index's own, such as "ready", "building" or "bad".
    """

    workspace: str
    name: str
    generation: int
    model_id: str
    dim: int
    applied_seq: int
    count: int
    digest: str
    status: str
    updated_at: datetime


def get(connection: Connection, workspace: str, name: str) -> IndexState | None:
    """The state of an index of a workspace, or None."""
    statement = select(index_state).where(index_state.c.workspace == workspace, index_state.c.name == name)
    row = connection.execute(statement).one_or_none()
    return _read(row) if row else None


def put(connection: Connection, state: IndexState) -> None:
    """Replaces the state of an index; a swap to a new generation is this one write."""
    values = {
        "workspace": state.workspace,
        "name": state.name,
        "generation": state.generation,
        "model_id": state.model_id,
        "dim": state.dim,
        "applied_seq": state.applied_seq,
        "size": state.count,
        "digest": state.digest,
        "status": state.status,
        "updated_at": to_micros(state.updated_at),
    }
    connection.execute(insert(index_state).values(values).prefix_with("OR REPLACE"))


def listing(connection: Connection, workspace: str | None = None) -> list[IndexState]:
    """The states of all indexes, of one workspace or of all."""
    statement = select(index_state).order_by(index_state.c.workspace, index_state.c.name)
    if workspace is not None:
        statement = statement.where(index_state.c.workspace == workspace)
    return [_read(row) for row in connection.execute(statement)]


def forget(connection: Connection, name: str, workspace: str | None = None) -> int:
    """Forgets what is known of an index, so that it is built anew; in how many workspaces."""
    statement = delete(index_state).where(index_state.c.name == name)
    if workspace is not None:
        statement = statement.where(index_state.c.workspace == workspace)
    return connection.execute(statement).rowcount


def _read(row: Row[*tuple[Any, ...]]) -> IndexState:
    return IndexState(
        workspace=row.workspace,
        name=row.name,
        generation=row.generation,
        model_id=row.model_id,
        dim=row.dim,
        applied_seq=row.applied_seq,
        count=row.size,
        digest=row.digest,
        status=row.status,
        updated_at=from_micros(row.updated_at),
    )
