"""Forgets what never was of use once a workspace outgrows its size: softly, a little at a time, and told beforehand."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, select

from reasoning_bank.learning.work import EMBED, promise
from reasoning_bank.records import Trust
from reasoning_bank.storage import history, memories
from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.schema import memories as table
from reasoning_bank.storage.scope import is_live
from reasoning_bank.storage.timestamps import from_micros

BATCH: Final = 200
"""Memories forgotten in one transaction."""
YOUNG_DAYS: Final = 30.0
"""Age below which a memory had no chance yet to be of use, and stays."""
_USED_ENOUGH = 10
_TRUST: Final[dict[Trust, float]] = {"quarantined": 0.0, "low": 0.1, "normal": 0.3, "trusted": 1.0}


@dataclass(frozen=True, slots=True)
class Prunable:
    """A memory that would be forgotten.

    Attributes:
        worth: 0..1, least first; see `worth_of`.
        why: in words.
    """

    id: str
    title: str
    worth: float
    why: str


def prunable(
    connection: Connection, workspace: str, *, limit: int, now: datetime, most: int | None = BATCH
) -> list[Prunable]:
    """What would be forgotten next, least worth first; empty while the workspace has at most `limit` memories.

    Only memories of our own count and go: imported rows were put there on purpose. One that ever helped, is trusted,
    stands for others, or is young, stays whatever the size.

    Args:
        most: how many to list; None for all.
    """
    live = (table.c.workspace == workspace) & is_live()
    own = live & (table.c.origin != "import")
    # An index alone tells how many there are at all; whose they are is read only where that is too many.
    if _count(connection, live) <= limit or (surplus := _count(connection, own) - limit) <= 0:
        return []
    columns = (table.c.id, table.c.trust, table.c.used, table.c.misled, table.c.ignored, table.c.created_at)
    useless = own & (table.c.helped == 0) & (table.c.trust != "trusted") & table.c.parents.is_(None)
    rows = connection.execute(select(*columns).where(useless).order_by(table.c.seq))
    ranked: list[tuple[float, str, str]] = []
    for row in rows:
        age_days = (now - from_micros(row.created_at)).total_seconds() / 86_400
        if age_days >= YOUNG_DAYS or row.trust == "quarantined":
            worth = worth_of(row.trust, used=row.used, complaints=row.misled + row.ignored, age_days=age_days)
            ranked.append((worth, row.id, _why(row.used, row.misled, row.trust, age_days)))
    chosen = heapq.nsmallest(surplus if most is None else min(surplus, most), ranked)
    return _titled(connection, workspace, chosen)


def prune_some(connection: Connection, workspace: str, *, limit: int, now: datetime) -> list[str]:
    """Forgets the next batch of what `prunable` lists; its ids, none when nothing has to go."""
    chosen = prunable(connection, workspace, limit=limit, now=now)
    gone = memories.soft_delete(connection, workspace, [each.id for each in chosen], now)
    for each in chosen:
        history.note(connection, workspace, [each.id], "pruned", reason=each.why, now=now)
    return gone


def undo_pruning(connection: Connection, workspace: str, *, since: datetime, now: datetime) -> list[str]:
    """Brings back what was pruned since a moment; the ids that are back."""
    entries = history.latest(connection, workspace, "pruned", limit=1_000_000)
    pruned = [each.memory_id for each in entries if each.at >= since]
    back = memories.undelete(connection, workspace, pruned, now)
    for some in batches(back):
        # Another model may have taken over meanwhile.
        promise(connection, workspace, EMBED, some, now=now)
    return back


def worth_of(trust: Trust, *, used: int, complaints: int, age_days: float) -> float:
    """How much a memory that never helped is worth keeping, 0..1.

    A quarter each for being trusted, for being found at all (it fits what is asked here), for causing no complaints
    where it was, and for being young (halved each year).
    """
    found = min(used, _USED_ENOUGH) / _USED_ENOUGH
    content = 1 / (1 + complaints)
    return 0.25 * (_TRUST[trust] + found + content + 0.5 ** (age_days / 365))


def _count(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(table).where(which)) or 0


def _why(used: int, misled: int, trust: Trust, age_days: float) -> str:
    served = f"found {used} times and never of help" if used else "never found"
    harm = f", misled {misled} times" if misled else ""
    return f"{served} in {age_days:.0f} days{harm}, trust {trust}"


def _titled(connection: Connection, workspace: str, chosen: Sequence[tuple[float, str, str]]) -> list[Prunable]:
    found = memories.by_ids(connection, workspace, [id_ for _, id_, _ in chosen])
    return [
        Prunable(id_, found[id_].item.title or found[id_].item.text[:80], round(worth, 4), why)
        for worth, id_, why in chosen
    ]
