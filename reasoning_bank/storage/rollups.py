"""Figures per quarter of an hour: what several processes measured, added together."""

import logging
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from reasoning_bank.monitoring.histogram import Histogram
from reasoning_bank.monitoring.rollups import Rollup, Rollups
from reasoning_bank.storage.schema import metric_rollups

logger = logging.getLogger(__name__)

_FIGURES: Final = ("kind", "count", "errors", "total", "smallest", "largest", "last", "sketch")


def add(connection: Connection, rollups: Rollups) -> None:
    """Add what was measured to what is there."""
    if not rollups:
        return
    starts = {start for start, _ in rollups}
    there = between(connection, since=min(starts), until=max(starts) + 1)
    rows = [
        {"start": start, "name": name, **_row(there[start, name].plus(each) if (start, name) in there else each)}
        for (start, name), each in rollups.items()
    ]
    statement = insert(metric_rollups)
    new = {name: statement.excluded[name] for name in _FIGURES}
    connection.execute(statement.on_conflict_do_update(index_elements=["start", "name"], set_=new), rows)


def between(connection: Connection, *, since: float, until: float) -> dict[tuple[int, str], Rollup]:
    """What was measured in the quarters that began in a time (seconds since the epoch, without its end).

    A row that cannot be read is left out: figures are no truth that anything depends on.
    """
    inside = (metric_rollups.c.start >= since) & (metric_rollups.c.start < until)
    found: dict[tuple[int, str], Rollup] = {}
    unreadable: list[tuple[int, str]] = []
    for row in connection.execute(select(metric_rollups).where(inside)).mappings():
        key = (row["start"], row["name"])
        try:
            found[key] = _rollup(row)
        except (zlib.error, ValueError, TypeError):
            unreadable.append(key)
    if unreadable:
        logger.warning(
            "%d rows of figures cannot be read and are left out, the first %s", len(unreadable), unreadable[0]
        )
    return found


def forget(connection: Connection, *, before: datetime | None = None) -> int:
    """Drop the quarters before a moment, or all; how many rows went."""
    gone = delete(metric_rollups)
    if before is not None:
        gone = gone.where(metric_rollups.c.start < before.timestamp())
    return connection.execute(gone).rowcount


def _row(rollup: Rollup) -> dict[str, Any]:
    empty = not rollup.count
    return {
        "kind": rollup.kind,
        "count": rollup.count,
        "errors": rollup.errors,
        "total": rollup.total,
        "smallest": 0.0 if empty else rollup.smallest,
        "largest": 0.0 if empty else rollup.largest,
        "last": rollup.last,
        # Mostly zeros: a tenth of it is left.
        "sketch": zlib.compress(rollup.durations.to_bytes()) if rollup.durations else None,
    }


def _rollup(row: Mapping[Any, Any]) -> Rollup:
    sketch: bytes | None = row["sketch"]
    durations = Histogram.from_bytes(zlib.decompress(sketch)) if sketch else None
    if not row["count"]:
        return Rollup(row["kind"], total=float(row["total"]))
    total, smallest, largest, last = (float(row[name]) for name in ("total", "smallest", "largest", "last"))
    return Rollup(row["kind"], int(row["count"]), int(row["errors"]), total, smallest, largest, last, durations)
