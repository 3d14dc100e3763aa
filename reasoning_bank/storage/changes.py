"""The change log: which memories to look at again since a point in time, for every index and cache of every process.

A row names a memory and a kind of change, never a state: the state is read from `memories`. An older row of the same
memory and kind is replaced, so whoever is far behind reads each memory once.

A seq is the time of its change in microseconds, or one more than the seq before where the clock is behind it. So a bank
that is put back from a backup never gives a seq a second time: what caches outside the process keep under a seq of the
time after the backup is never found again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, insert, select, text

from reasoning_bank.storage.schema import changes

Op = Literal["insert", "update", "delete", "undelete", "embedded", "counters"]


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the log; `seq` ascends in the order of commits, over all workspaces, with gaps."""

    seq: int
    memory_id: str
    op: Op


def append(connection: Connection, workspace: str, ids: Iterable[str], op: Op) -> None:
    """Notes a change of memories, in the transaction that makes it."""
    rows = [{"workspace": workspace, "memory_id": id_, "op": op} for id_ in ids]
    if rows:
        connection.execute(_APPEND, rows)


def since(connection: Connection, workspace: str, seq: int, limit: int = 10_000) -> list[Change]:
    """Changes of a workspace after `seq`, oldest first."""
    statement = (
        select(changes.c.seq, changes.c.memory_id, changes.c.op)
        .where(changes.c.workspace == workspace, changes.c.seq > seq)
        .order_by(changes.c.seq)
        .limit(limit)
    )
    return [Change(*row) for row in connection.execute(statement)]


def last_seq(connection: Connection, workspace: str) -> int:
    """The seq of a workspace's latest change, 0 when there is none."""
    statement = select(func.max(changes.c.seq)).where(changes.c.workspace == workspace)
    return connection.scalar(statement) or 0


_NEXT = text("""max(
    coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'change_log'), 0) + 1,
    CAST((julianday('now') - 2440587.5) * 86400e6 AS INTEGER))""")
_APPEND = insert(changes).prefix_with("OR REPLACE").values(seq=_NEXT)
