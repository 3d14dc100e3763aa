"""What was done to memories beyond single requests: merges, changes of trust, pruning, purges; for whoever asks why."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, insert, select

from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.schema import memory_history
from reasoning_bank.storage.timestamps import from_micros, to_micros

Event = Literal["merged", "generalised", "overruled", "reinstated", "trust", "pruned", "purged"]
"""Taken in by another memory, by a general one, replaced by what says the opposite, in force again because that fell,
trusted otherwise, forgotten as useless, or forgotten with all that came by its way."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done to a memory.

    Attributes:
        before, after: the trust, or in `after` the memory that stands for it now.
    """

    memory_id: str
    event: Event
    before: str | None
    after: str | None
    reason: str
    at: datetime


def note(
    connection: Connection,
    workspace: str,
    ids: Iterable[str],
    event: Event,
    *,
    reason: str,
    now: datetime,
    change: tuple[str | None, str | None] = (None, None),
) -> None:
    """Writes what was done to each memory, in the transaction that does it; `change` is (before, after)."""
    before, after = change
    said = {"workspace": workspace, "event": event, "before": before, "after": after, "reason": reason}
    rows = [said | {"memory_id": id_, "created_at": to_micros(now)} for id_ in ids]
    if rows:
        connection.execute(insert(memory_history), rows)


def of_memory(connection: Connection, workspace: str, id_: str) -> list[Entry]:
    """Everything that was done to a memory, oldest first."""
    return [entry for entries in of_memories(connection, workspace, [id_]).values() for entry in entries]


def of_memories(connection: Connection, workspace: str, ids: Iterable[str]) -> dict[str, list[Entry]]:
    """Everything that was done to each memory, oldest first; those left alone are absent."""
    found: dict[str, list[Entry]] = {}
    table = memory_history
    for some in batches(ids):
        mine = (table.c.workspace == workspace) & table.c.memory_id.in_(some)
        for row in connection.execute(select(table).where(mine).order_by(table.c.seq)):
            entry = Entry(row.memory_id, row.event, row.before, row.after, row.reason, from_micros(row.created_at))
            found.setdefault(row.memory_id, []).append(entry)
    return found


def latest(connection: Connection, workspace: str, event: Event, limit: int = 100) -> list[Entry]:
    """The last things of a kind that were done in a workspace, latest first."""
    table = memory_history
    mine = (table.c.workspace == workspace) & (table.c.event == event)
    rows = connection.execute(select(table).where(mine).order_by(table.c.seq.desc()).limit(limit))
    return [
        Entry(row.memory_id, row.event, row.before, row.after, row.reason, from_micros(row.created_at)) for row in rows
    ]
