"""Canonical JSONL: what import reads back so exactly that exporting again gives the same bytes."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from reasoning_bank.records import JsonValue, Links, Memory, Trace
from reasoning_bank.transfer.rows import NAMED_KEYS, implied_report
from reasoning_bank.transfer.values import Json


@dataclass(frozen=True, slots=True)
class Exported:
    """How much was written."""

    traces: int
    memories: int
    lines: int


def export_file(
    traces: Iterable[tuple[Trace, Sequence[Memory]]],
    out: BinaryIO,
    *,
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """Write every trace with its memories.

    Args:
        traces: in the order they were stored; the memories of each likewise.
        out: receives UTF-8, one object and a line feed each.
        progress: receives the memories written so far.
    """
    counts = [0, 0, 0]
    for trace, memories in traces:
        rows = list(trace_rows(trace, memories))
        out.writelines(canonical_line(row) for row in rows)
        for position, count in enumerate((1, len(memories), len(rows))):
            counts[position] += count
        if progress is not None:
            progress(counts[1])
    return Exported(traces=counts[0], memories=counts[1], lines=counts[2])


def canonical_line(row: Json) -> bytes:
    """One row as the only bytes we ever write for it: keys sorted, no blanks, UTF-8, a line feed."""
    text = json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def trace_rows(trace: Trace, memories: Sequence[Memory]) -> Iterator[Json]:
    """The rows of one trace: a line of its own only when the memories' rows would not imply it."""
    implied = bool(memories) and (
        implied_report([memory.item for memory in memories]) == trace.report
        and trace.created_at == memories[0].created_at
    )
    if not implied:
        yield {"trace": _trace(trace)}
    for memory in memories:
        yield _memory_row(memory)


def _trace(trace: Trace) -> Json:
    report = trace.report
    return {"id": trace.id, "workspace": trace.workspace, "task": report.task, "created_at": _iso(trace.created_at)} | (
        _present(
            outcome=None if report.outcome == "unknown" else report.outcome,
            trajectory=report.trajectory,
            tags=list(report.tags) or None,
            domain=report.domain,
            external_id=report.external_id,
            session=report.session,
            actor=report.actor,
            time=report.time,
            metadata=dict(report.metadata) or None,
        )
    )


def _memory_row(memory: Memory) -> Json:
    item = memory.item
    own = dict(item.metadata)
    named = _present(
        workspace=memory.workspace,
        title=item.title or None,
        description=item.description or None,
        content=item.content or None,
        time=item.time,
        speaker=item.actor,
        session=item.session,
        turn=item.position,
    )
    # In the row, a key is meant whatever metadata says: needed where metadata has a key of that name, and for
    # a session or turn without the other, which import leaves in metadata.
    in_row = {key for key in NAMED_KEYS if key in own}
    if in_row & {"session", "turn"} or (item.session is None) != (item.position is None):
        in_row |= {"session", "turn"}
    row: Json = {"id": item.external_id or memory.id, "text": item.text, "bank": _bank(memory)}
    row |= {key: named.get(key) for key in in_row}
    row["metadata"] = own | {key: value for key, value in named.items() if key not in in_row}
    return row | _present(
        tags=list(item.tags) or None,
        domain=item.domain,
        difficulty=item.difficulty,
        outcome=None if item.outcome == "unknown" else item.outcome,
        error_context=None if item.error_context is None else asdict(item.error_context),
        origin=None if item.origin == "import" else item.origin,
        trust=None if item.trust == "normal" else item.trust,
        parents=list(item.parents) or None,
        valid_from=_iso(item.valid_from),
        valid_to=_iso(item.valid_to),
    )


def _bank(memory: Memory) -> Json:
    counters: Json = {name: count for name, count in asdict(memory.counters).items() if count}
    updated = None if memory.updated_at == memory.created_at else memory.updated_at
    links = memory.links or Links()
    return {"id": memory.id, "trace": memory.trace_id, "created_at": _iso(memory.created_at)} | _present(
        updated_at=_iso(updated),
        counters=counters or None,
        superseded_by=memory.superseded_by,
        deleted_at=_iso(memory.deleted_at),
        made_by=memory.item.made_by,
        quarantined_for=memory.quarantined_for,
        sources=list(links.sources) or None,
        contradicts=[{"id": id_, "reason": reason} for id_, reason in links.contradicts] or None,
    )


def _present(**fields: JsonValue) -> Json:
    return {key: value for key, value in fields.items() if value is not None}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
