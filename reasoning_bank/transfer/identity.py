"""Ids of imported rows that bring none: derived from what the row is, so that importing it again finds the first."""

import hashlib
import json
from dataclasses import asdict, replace
from datetime import datetime

from reasoning_bank.records import ImportedMemory, ImportedTrace


def identified(trace: ImportedTrace) -> ImportedTrace:
    """The trace and its memories, each with the id it has or a derived one."""
    trace_id = imported_trace_id(trace)
    memories = tuple(replace(memory, id=imported_memory_id(memory, trace_id=trace_id)) for memory in trace.memories)
    return replace(trace, id=trace_id, memories=memories)


def imported_trace_id(trace: ImportedTrace) -> str:
    """The id to keep, else one that all rows of a session share, else one of the single row."""
    if trace.id is not None:
        return trace.id
    report = trace.report
    if report.session is not None and report.external_id is None:
        return _derived("tr", "session", report.session)
    return _derived("tr", "row", asdict(report))


def imported_memory_id(memory: ImportedMemory, *, trace_id: str) -> str:
    """The id to keep, else one of everything the row says: only a row that is the same in all of it has the same id."""
    return memory.id if memory.id is not None else _derived("m", trace_id, asdict(memory.item))


def _derived(prefix: str, *parts: object) -> str:
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, default=_moment)
    return f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")
