"""What the gate refused: its title and the reason, `code: sentence`, never the text itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from reasoning_bank.storage.schema import rejections
from reasoning_bank.storage.timestamps import from_micros, to_micros


@dataclass(frozen=True, slots=True)
class Rejection:
    """A memory that was not kept.

    Attributes:
        reason: a code of few words, a colon, and a sentence for its author.
        made_by: what distilled it; None for the assistant itself.
    """

    title: str
    reason: str
    made_by: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRejection:
    """A rejection with the trace it came with, and when."""

    trace_id: str | None
    rejection: Rejection
    created_at: datetime


def add(
    connection: Connection, workspace: str, trace_id: str | None, refused: Sequence[Rejection], *, now: datetime
) -> None:
    """Keeps what was refused of one trace."""
    rows = [
        {
            "workspace": workspace,
            "trace_id": trace_id,
            "made_by": each.made_by,
            "created_at": to_micros(now),
            "title": each.title,
            "reason": each.reason,
        }
        for each in refused
    ]
    if rows:
        connection.execute(_INSERT, rows)


def counts(connection: Connection, workspace: str) -> dict[str, int]:
    """How many memories were refused, by the code of the reason, most frequent first."""
    code = func.substr(rejections.c.reason, 1, func.instr(rejections.c.reason, ":") - 1)
    statement = select(code, func.count()).where(rejections.c.workspace == workspace).group_by(code)
    found = {str(name): int(number) for name, number in connection.execute(statement)}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def latest(connection: Connection, workspace: str, *, limit: int = 20) -> list[StoredRejection]:
    """The last memories refused, latest first."""
    statement = select(rejections).where(rejections.c.workspace == workspace).order_by(rejections.c.seq.desc())
    return [
        StoredRejection(row.trace_id, Rejection(row.title, row.reason, row.made_by), from_micros(row.created_at))
        for row in connection.execute(statement.limit(limit))
    ]


_INSERT = insert(rejections)
