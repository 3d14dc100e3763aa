"""A memory as a table row and back."""

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from sqlalchemy import Row

from reasoning_bank.errors import InputError
from reasoning_bank.records import Counters, ErrorContext, EventTime, JsonValue, Memory, MemoryItem
from reasoning_bank.storage.timestamps import from_micros, from_micros_or_none, to_micros, to_seconds
from reasoning_bank.text.fields import event_moment

_LARGEST_INTEGER: Final = 2**63 - 1


def memory_values(memory: Memory) -> dict[str, Any]:
    """The columns of a memory's row, without `seq`.

    Raises:
        InputError: when the position does not fit 64 bits.
    """
    counters = memory.counters
    return item_values(memory) | {
        "workspace": memory.workspace,
        "id": memory.id,
        "trace_id": memory.trace_id,
        "used": counters.used,
        "helped": counters.helped,
        "misled": counters.misled,
        "ignored": counters.ignored,
        "created_at": to_micros(memory.created_at),
        "deleted_at": to_micros(memory.deleted_at),
    }


def item_values(memory: Memory) -> dict[str, Any]:
    """The columns that an edit of a memory may change."""
    item = memory.item
    if item.position is not None and abs(item.position) > _LARGEST_INTEGER:
        raise InputError(f"position {item.position} is out of range: send a number below 2**63")
    moment = event_moment(item.time) or memory.created_at
    return {
        "external_id": item.external_id,
        "outcome": item.outcome,
        "domain": item.domain,
        "difficulty": item.difficulty,
        "session": item.session,
        "position": item.position,
        "actor": item.actor,
        "time": dumped(item.time),
        "occurred_at": to_seconds(moment),
        "origin": item.origin,
        "trust": item.trust,
        "valid_from": to_micros(item.valid_from),
        "valid_to": to_micros(item.valid_to),
        "updated_at": to_micros(memory.updated_at),
        "content_hash": memory.content_hash,
        "superseded_by": memory.superseded_by,
        "made_by": item.made_by,
        "quarantined_for": memory.quarantined_for,
        "tags": dumped(item.tags or None),
        "parents": dumped(item.parents or None),
        "error_context": dumped(_error_context_values(item.error_context)),
        "metadata": dumped(dict(item.metadata) or None),
        "title": item.title,
        "description": item.description,
        "text": item.text,
        "content": item.content,
    }


def read_memory(row: Row[*tuple[Any, ...]]) -> Memory:
    """The memory of a row of all columns."""
    return Memory(
        id=row.id,
        workspace=row.workspace,
        trace_id=row.trace_id,
        item=_read_item(row),
        counters=Counters(used=row.used, helped=row.helped, misled=row.misled, ignored=row.ignored),
        created_at=from_micros(row.created_at),
        updated_at=from_micros(row.updated_at),
        content_hash=row.content_hash,
        superseded_by=row.superseded_by,
        deleted_at=from_micros_or_none(row.deleted_at),
        quarantined_for=row.quarantined_for,
    )


def dumped(value: Any) -> str | None:
    """Compact JSON, or None for None; key order is kept, characters are not escaped."""
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def loaded(text: str | None) -> JsonValue:
    """The value of `dumped`."""
    return None if text is None else json.loads(text)


def loaded_mapping(text: str | None) -> Mapping[str, JsonValue]:
    """The object of a JSON text, empty for None."""
    return cast("dict[str, JsonValue]", loaded(text)) if text else {}


def loaded_words(text: str | None) -> tuple[str, ...]:
    """The strings of a JSON list, empty for None."""
    return tuple(cast("list[str]", loaded(text))) if text else ()


def loaded_time(text: str | None) -> EventTime:
    """An event time: text, a number or None."""
    return cast("EventTime", loaded(text))


def _read_item(row: Row[*tuple[Any, ...]]) -> MemoryItem:
    return MemoryItem(
        text=row.text,
        title=row.title,
        description=row.description,
        content=row.content,
        external_id=row.external_id,
        tags=loaded_words(row.tags),
        domain=row.domain,
        difficulty=row.difficulty,
        outcome=row.outcome,
        error_context=_read_error_context(row.error_context),
        session=row.session,
        position=row.position,
        actor=row.actor,
        time=loaded_time(row.time),
        origin=row.origin,
        trust=row.trust,
        parents=loaded_words(row.parents),
        valid_from=from_micros_or_none(row.valid_from),
        valid_to=from_micros_or_none(row.valid_to),
        made_by=row.made_by,
        metadata=loaded_mapping(row.metadata),
    )


def _error_context_values(context: ErrorContext | None) -> list[str] | None:
    return [context.error_type, context.failure_pattern, context.corrective_guidance] if context else None


def _read_error_context(text: str | None) -> ErrorContext | None:
    return ErrorContext(*loaded_words(text)) if text else None
