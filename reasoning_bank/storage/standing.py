"""How far a memory is trusted, and every change of that."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, cast

from sqlalchemy import Connection, select, update

from reasoning_bank.records import Trust
from reasoning_bank.storage import changes, history, lineage
from reasoning_bank.storage.schema import memories
from reasoning_bank.storage.timestamps import to_micros

RANK: Final[dict[Trust, int]] = {"quarantined": 0, "low": 1, "normal": 2, "trusted": 3}
"""Less trust first."""


def lowest(trusts: Iterable[Trust]) -> Trust:
    """The least of some trusts: what derives from several deserves no more."""
    return min(trusts, key=RANK.__getitem__)


def set_trust(connection: Connection, workspace: str, id_: str, trust: Trust, *, reason: str, now: datetime) -> bool:
    """Trusts a memory otherwise from now on, and keeps why; whether that was a change.

    A memory that is quarantined keeps the reason for whoever looks at it; with any other trust it has none.
    """
    before = trust_of(connection, workspace, id_)
    if before is None or before == trust:
        return False
    values = {
        "trust": trust,
        "quarantined_for": reason if trust == "quarantined" else None,
        "updated_at": to_micros(now),
    }
    connection.execute(update(memories).where(memories.c.workspace == workspace, memories.c.id == id_).values(values))
    history.note(connection, workspace, [id_], "trust", reason=reason, now=now, change=(before, trust))
    changes.append(connection, workspace, [id_], "update")
    lineage.note_opponents(connection, workspace, [id_])
    return True


def trust_of(connection: Connection, workspace: str, id_: str) -> Trust | None:
    """How far a memory is trusted, or None for an unknown id."""
    mine = (memories.c.workspace == workspace) & (memories.c.id == id_)
    return cast("Trust | None", connection.scalar(select(memories.c.trust).where(mine)))


def before_quarantine(connection: Connection, workspace: str, id_: str) -> Trust:
    """How far a quarantined memory was trusted before; low where it never was anything else."""
    for entry in reversed(history.of_memory(connection, workspace, id_)):
        if entry.event == "trust" and entry.after == "quarantined":
            return cast("Trust", entry.before)
    return "low"
