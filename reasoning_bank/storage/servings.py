"""Which memories were given for which task: enough to compare how tasks end with and without a memory, no texts."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.schema import memories, servings
from reasoning_bank.storage.scope import is_searchable
from reasoning_bank.storage.timestamps import from_micros, to_micros

KEPT: Final = timedelta(days=180)
"""How long it is known what was given: a year's half says enough of any lesson."""
_DIGITS = 24
_LOOKED_AT: Final = 1_000


def task_hash(task: str) -> str:
    """What stands for a task, whatever its capitals and blanks: 96 bits as hex digits."""
    said = " ".join(task.casefold().split())
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def note(connection: Connection, given: Mapping[tuple[str, str, str], datetime]) -> None:
    """Notes when each (workspace, memory id, task hash) was given; of equal ones the first time counts.

    What is older than `KEPT` by then goes.
    """
    rows = [
        {"workspace": workspace, "memory_id": id_, "task_hash": task, "served_at": to_micros(at)}
        for (workspace, id_, task), at in given.items()
    ]
    if rows:
        connection.execute(insert(servings).on_conflict_do_nothing(), rows)
        oldest = to_micros(max(given.values()) - KEPT)
        connection.execute(delete(servings).where(servings.c.served_at < oldest))


def latest_task(connection: Connection, workspace: str, ids: Iterable[str]) -> dict[str, str]:
    """By memory, the task it was given for last; absent where it is not known."""
    found: dict[str, str] = {}
    for some in batches(ids):
        mine = (servings.c.workspace == workspace) & servings.c.memory_id.in_(some)
        rows = connection.execute(
            select(servings.c.memory_id, servings.c.task_hash).where(mine).order_by(servings.c.served_at)
        )
        found |= dict(rows.all())
    return found


def of_workspace(connection: Connection, workspace: str) -> list[tuple[str, str, datetime]]:
    """(memory id, task hash, when) of everything that was given, as far as it is kept."""
    columns = (servings.c.memory_id, servings.c.task_hash, servings.c.served_at)
    rows = connection.execute(select(*columns).where(servings.c.workspace == workspace))
    return [(id_, task, from_micros(at)) for id_, task, at in rows]


def workspaces_lately(connection: Connection, most: int) -> list[str]:
    """The workspaces in which memories were given last, latest first."""
    latest = select(servings.c.workspace).order_by(servings.c.served_at.desc()).limit(_LOOKED_AT)
    return list(dict.fromkeys(connection.scalars(latest)))[:most]


def in_use(connection: Connection, workspace: str, most: int) -> list[str]:
    """Ids of memories given last, then of those given most often, so many of either."""
    lately = (
        select(servings.c.memory_id)
        .where(servings.c.workspace == workspace)
        .group_by(servings.c.memory_id)
        .order_by(func.max(servings.c.served_at).desc(), servings.c.memory_id)
    )
    often = (
        select(memories.c.id)
        .where(memories.c.workspace == workspace, memories.c.used > 0, is_searchable())
        .order_by(memories.c.used.desc(), memories.c.id)
    )
    return list(dict.fromkeys(id_ for each in (lately, often) for id_ in connection.scalars(each.limit(most))))
