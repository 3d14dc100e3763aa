"""How traces ended, where the assistant did not say: one judgement per trace, the latest."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.sqlite import insert

from reasoning_bank.records import Judgement
from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.schema import judgements
from reasoning_bank.storage.timestamps import to_micros


def put(connection: Connection, workspace: str, trace_id: str, judgement: Judgement, *, now: datetime) -> None:
    """Keeps a judgement; it replaces an earlier one of the same trace."""
    connection.execute(
        _PUT,
        {
            "workspace": workspace,
            "trace_id": trace_id,
            "outcome": judgement.outcome,
            "confidence": judgement.confidence,
            "judged_by": judgement.by,
            "created_at": to_micros(now),
            "reason": judgement.reason,
        },
    )


def of_traces(connection: Connection, workspace: str, trace_ids: Iterable[str]) -> dict[str, Judgement]:
    """The judgements of these traces; those never judged are absent."""
    found: dict[str, Judgement] = {}
    for some in batches(trace_ids):
        for row in connection.execute(_OF, {"workspace": workspace, "ids": some}):
            found[row.trace_id] = Judgement(row.outcome, row.reason, row.confidence, row.judged_by)
    return found


_VALUES = insert(judgements)
_PUT = _VALUES.on_conflict_do_update(
    index_elements=[judgements.c.workspace, judgements.c.trace_id],
    set_={name: _VALUES.excluded[name] for name in ("outcome", "confidence", "judged_by", "created_at", "reason")},
)
_OF = select(judgements).where(
    judgements.c.workspace == bindparam("workspace"), judgements.c.trace_id.in_(bindparam("ids", expanding=True))
)
