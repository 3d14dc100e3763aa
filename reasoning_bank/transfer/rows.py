"""One JSON line of an import file, read into the bank's own words.

A row is `{"id", "text", "metadata": {…}}`. `workspace`, `title`, `description`, `content`, `time`, `speaker`, `session`
and `turn` may stand in `metadata` or in the row itself; where both have the key, the row's is meant and the other stays
ordinary metadata. What the bank knows besides (`tags`, `outcome`, … and the object `bank`) stands in the row; export
writes it, other sources may. `{"trace": {…}}` is a trace that its memories' rows cannot tell by themselves.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from reasoning_bank.errors import InputError
from reasoning_bank.records import (
    Counters,
    ErrorContext,
    ImportedMemory,
    ImportedTrace,
    JsonValue,
    Links,
    MemoryItem,
    NewTrace,
    Origin,
    Outcome,
    Trust,
)
from reasoning_bank.text.sanity import clean_json
from reasoning_bank.transfer.values import (
    Json,
    read_count,
    read_moment,
    read_name,
    read_object,
    read_one_of,
    read_text,
    read_texts,
    read_time,
)

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
ORIGINS: tuple[Origin, ...] = get_args(Origin)
TRUSTS: tuple[Trust, ...] = get_args(Trust)
NAMED_KEYS = ("workspace", "title", "description", "content", "time", "speaker", "session", "turn")
"""Keys that mean the same in the row and in its metadata."""
ROW_KEYS = frozenset(NAMED_KEYS) | {
    *("id", "text", "metadata", "tags", "domain", "difficulty", "outcome", "error_context", "origin", "trust"),
    *("parents", "valid_from", "valid_to", "bank"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line, understood.

    Attributes:
        workspace: as the row names it, or None.
        group: rows of one workspace with equal groups are memories of one trace.
        memory: None for a line that only describes a trace.
        trace: what the line says of the trace itself; None where the memories imply it.
    """

    workspace: str | None
    group: tuple[str, ...]
    memory: ImportedMemory | None
    trace: ImportedTrace | None


def read_row(line: bytes, *, number: int) -> Row:
    """Parse one line of a file; `number` counts from 1.

    Raises:
        InputError: the line is no row; the text says what is wrong, without the line number.
    """
    data = read_object(decode_line(line), "the line")
    trace = data.get("trace")
    return _memory_row(data, number) if trace is None else _trace_row(read_object(trace, "trace"))


def decode_line(line: bytes) -> JsonValue:
    """What one line says as JSON; an InputError says why it is none."""
    try:
        # A byte order mark is what some editors put before the first line.
        return json.loads(line.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 at byte {error.start}") from error
    except InputError:
        raise
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg} at column {error.colno}") from error
    except ValueError as error:
        raise InputError("not JSON we can read: a number has thousands of digits") from error
    except RecursionError as error:
        raise InputError("not JSON we can read: nested too deeply") from error


def implied_report(items: Sequence[MemoryItem]) -> NewTrace:
    """The trace that memories imply when nothing else is known of it: one row, or the turns of one session in order."""
    first = items[0]
    if first.session is not None and first.position is not None:
        return NewTrace(task=first.text, session=first.session, time=first.time)
    return NewTrace(
        task=first.text,
        outcome=first.outcome,
        tags=first.tags,
        domain=first.domain,
        external_id=first.external_id,
        session=first.session,
        actor=first.actor,
        time=first.time,
    )


def _refuse_constant(name: str) -> JsonValue:
    raise InputError(f"not JSON: {name} is no number")


def _memory_row(data: Json, number: int) -> Row:
    metadata: Json = dict(read_object(data.get("metadata") or {}, "metadata"))
    named = _named(data, metadata)
    bank = read_object(data.get("bank") or {}, "bank")
    item = _item(data, named, metadata, bank)
    memory = ImportedMemory(
        item=item,
        id=read_text(bank, "id"),
        counters=_counters(read_object(bank.get("counters") or {}, "bank.counters")),
        created_at=read_moment(bank, "created_at"),
        updated_at=read_moment(bank, "updated_at"),
        superseded_by=read_text(bank, "superseded_by"),
        deleted_at=read_moment(bank, "deleted_at"),
        quarantined_for=read_text(bank, "quarantined_for"),
        links=Links(read_texts(bank, "sources"), _contradicts(bank)),
    )
    return Row(read_text(named, "workspace"), _group(item, read_text(bank, "trace"), number), memory, trace=None)


def _named(data: Json, metadata: Json) -> Json:
    """Take the named keys out of the row, else out of `metadata`, which keeps the rest and unknown keys of the row."""
    # A session without turns has no order, and a turn without a session no neighbours: they stay metadata.
    paired = metadata.get("session") is not None and metadata.get("turn") is not None
    named: Json = {}
    for key in NAMED_KEYS:
        if key in data:
            named[key] = data[key]
        elif key in metadata and (paired or key not in ("session", "turn")):
            named[key] = metadata.pop(key)
    for key in data.keys() - ROW_KEYS:
        if key in metadata:
            raise InputError(f"{key!r} is in the row and in its metadata: keep one")
        metadata[key] = data[key]
    return named


def _item(data: Json, named: Json, metadata: Json, bank: Json) -> MemoryItem:
    text = read_text(data, "text")
    if text is None or not text.strip():
        raise InputError("'text' is missing or empty: it is what the memory is found by")
    return MemoryItem(
        text=text,
        title=read_text(named, "title") or "",
        description=read_text(named, "description") or "",
        content=read_text(named, "content") or "",
        external_id=_external_id(data, bank),
        tags=read_texts(data, "tags"),
        domain=read_text(data, "domain"),
        difficulty=read_text(data, "difficulty"),
        outcome=read_one_of(data, "outcome", OUTCOMES, "unknown"),
        error_context=read_error_context(data),
        session=read_name(named, "session"),
        position=read_count(named, "turn"),
        actor=read_text(named, "speaker"),
        time=read_time(named, kept=bool(bank)),
        origin=read_one_of(data, "origin", ORIGINS, "import"),
        trust=read_one_of(data, "trust", TRUSTS, "normal"),
        parents=read_texts(data, "parents"),
        valid_from=read_moment(data, "valid_from"),
        valid_to=read_moment(data, "valid_to"),
        made_by=read_text(bank, "made_by"),
        metadata=read_object(clean_json(metadata, "metadata"), "metadata"),
    )


def _external_id(data: Json, bank: Json) -> str | None:
    given = read_name(data, "id")
    if given is None or not given.strip():
        raise InputError("'id' is missing: importing again would not find the row")
    # Export writes the bank's own id where a memory has no other.
    return None if given == bank.get("id") else given


def _group(item: MemoryItem, trace_id: str | None, number: int) -> tuple[str, ...]:
    if trace_id is not None:
        return ("trace", trace_id)
    if item.session is not None and item.position is not None:
        return ("session", item.session)
    return ("row", str(number))


def _trace_row(data: Json) -> Row:
    trace_id = read_text(data, "id")
    if trace_id is None:
        raise InputError("'trace.id' is missing: its memories could not name it")
    task = read_text(data, "task")
    if task is None or not task.strip():
        raise InputError("'trace.task' is missing or empty")
    report = NewTrace(
        task=task,
        outcome=read_one_of(data, "outcome", OUTCOMES, "unknown"),
        trajectory=clean_json(data.get("trajectory"), "trace.trajectory"),
        tags=read_texts(data, "tags"),
        domain=read_text(data, "domain"),
        external_id=read_text(data, "external_id"),
        session=read_text(data, "session"),
        actor=read_text(data, "actor"),
        time=read_time(data, kept=True),
        metadata=read_object(clean_json(data.get("metadata") or {}, "trace.metadata"), "trace.metadata"),
    )
    trace = ImportedTrace(report, (), id=trace_id, created_at=read_moment(data, "created_at"))
    return Row(read_text(data, "workspace"), ("trace", trace_id), memory=None, trace=trace)


def read_error_context(data: Json) -> ErrorContext | None:
    """The object under `error_context`; None when it is absent or null."""
    if data.get("error_context") is None:
        return None
    context = read_object(data["error_context"], "error_context")
    return ErrorContext(
        error_type=read_text(context, "error_type") or "",
        failure_pattern=read_text(context, "failure_pattern") or "",
        corrective_guidance=read_text(context, "corrective_guidance") or "",
    )


def _contradicts(bank: Json) -> tuple[tuple[str, str], ...]:
    listed = bank.get("contradicts")
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise InputError("'contradicts' must be a list of objects")
    others = [read_object(each, "contradicts") for each in listed]
    return tuple((read_text(each, "id") or "", read_text(each, "reason") or "") for each in others)


def _counters(data: Json) -> Counters:
    counts = {key: read_count(data, key) or 0 for key in ("used", "helped", "misled", "ignored")}
    return Counters(**counts)
