"""Workspaces: the tenants of a bank, what they hold, and the names completions offer."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, distinct, func, select, update
from sqlalchemy.dialects.sqlite import insert

from reasoning_bank.storage import embeddings, schema
from reasoning_bank.storage.timestamps import from_micros, to_micros


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant of the bank.

    Attributes:
        privacy_mode: "off", "redact" or "block" where it differs from the setting, else None.
    """

    name: str
    privacy_mode: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """What a workspace (or the whole bank) holds; `memories` are the live ones."""

    traces: int
    memories: int
    superseded: int
    deleted: int
    embedded: int
    tags: int


def ensure(connection: Connection, name: str, now: datetime) -> None:
    """Makes a workspace unless it is there."""
    connection.execute(_ENSURE, {"name": name, "created_at": to_micros(now)})


def find(connection: Connection, name: str) -> Workspace | None:
    """A workspace, or None."""
    rows = _read(connection, select(schema.workspaces).where(schema.workspaces.c.name == name))
    return rows[0] if rows else None


def listing(connection: Connection) -> list[Workspace]:
    """All workspaces by name."""
    return _read(connection, select(schema.workspaces).order_by(schema.workspaces.c.name))


def set_privacy_mode(connection: Connection, name: str, mode: str | None) -> None:
    """Sets the privacy mode of a workspace; None goes back to the setting."""
    table = schema.workspaces
    connection.execute(update(table).where(table.c.name == name).values(privacy_mode=mode))


def counts(connection: Connection, workspace: str | None, *, model_id: str | None = None) -> Counts:
    """What a workspace holds, or the whole bank for None; `embedded` are live memories with vectors of the model."""
    memories = schema.memories
    gone, replaced = memories.c.deleted_at.is_not(None), memories.c.superseded_by.is_not(None)
    query = select(
        func.count().filter(~gone & ~replaced), func.count().filter(~gone & replaced), func.count().filter(gone)
    )
    live, superseded, deleted = connection.execute(_scoped(query.select_from(memories), memories, workspace)).one()
    tags = _scoped(select(func.count(distinct(schema.memory_tags.c.tag))), schema.memory_tags, workspace)
    traces = _scoped(select(func.count()).select_from(schema.traces), schema.traces, workspace)
    return Counts(
        traces=connection.scalar(traces) or 0,
        memories=live,
        superseded=superseded,
        deleted=deleted,
        embedded=embeddings.coverage(connection, model_id, workspace).embedded if model_id else 0,
        tags=connection.scalar(tags) or 0,
    )


def live_memories(connection: Connection) -> int:
    """How many memories of the bank are neither forgotten nor replaced; 5 ms for 100,000."""
    memories = schema.memories
    live = memories.c.deleted_at.is_(None) & memories.c.superseded_by.is_(None)
    return connection.scalar(select(func.count()).select_from(memories).where(live)) or 0


def names_starting(connection: Connection, prefix: str, limit: int = 100) -> list[str]:
    """Workspace names that begin with a prefix, in order."""
    return _starting(connection, schema.workspaces.c.name, prefix, limit)


def tags_starting(connection: Connection, workspace: str, prefix: str, limit: int = 100) -> list[str]:
    """Tags (case folded) of a workspace's memories that begin with a prefix, in order."""
    column = schema.memory_tags.c.tag
    return _starting(connection, column, prefix.casefold(), limit, schema.memory_tags.c.workspace == workspace)


def domains_starting(connection: Connection, workspace: str, prefix: str, limit: int = 100) -> list[str]:
    """Domains of a workspace's memories that begin with a prefix, in order."""
    memories = schema.memories
    here = (memories.c.workspace == workspace) & memories.c.deleted_at.is_(None)
    return _starting(connection, memories.c.domain, prefix, limit, here)


def memory_ids_starting(connection: Connection, workspace: str, prefix: str, limit: int = 100) -> list[str]:
    """Ids of a workspace's memories that begin with a prefix, in order; forgotten ones are left out."""
    memories = schema.memories
    here = (memories.c.workspace == workspace) & memories.c.deleted_at.is_(None)
    return _starting(connection, memories.c.id, prefix, limit, here)


def trace_ids_starting(connection: Connection, workspace: str, prefix: str, limit: int = 100) -> list[str]:
    """Ids of a workspace's traces that begin with a prefix, in order."""
    return _starting(connection, schema.traces.c.id, prefix, limit, schema.traces.c.workspace == workspace)


def _starting(
    connection: Connection, column: Column[str], prefix: str, limit: int, *scope: ColumnElement[bool]
) -> list[str]:
    # A range, unlike LIKE, uses the index and gives % and _ no meaning; no text sorts after U+10FFFF.
    within = column.between(prefix, prefix + "\U0010ffff")
    statement = select(column).distinct().where(within, *scope).order_by(column).limit(limit)
    return list(connection.scalars(statement))


def _scoped(statement: Select[*tuple[Any, ...]], table: Table, workspace: str | None) -> Select[*tuple[Any, ...]]:
    return statement if workspace is None else statement.where(table.c.workspace == workspace)


def _read(connection: Connection, statement: Select[*tuple[Any, ...]]) -> list[Workspace]:
    return [Workspace(row.name, row.privacy_mode, from_micros(row.created_at)) for row in connection.execute(statement)]


_ENSURE = insert(schema.workspaces).on_conflict_do_nothing()
