"""What a trace and its memories must pass before any of their text is kept: sound text, sizes, redaction.

Sizes are checked on what the caller sent; an error names the field, its size and the limit, and nothing is cut.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from reasoning_bank.errors import InputError
from reasoning_bank.privacy.doors import redact_record
from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.records import EventTime, JsonValue, MemoryItem, NewTrace, Origin, Outcome, Trust
from reasoning_bank.text.sanity import clean_json, clean_text, required_text

TAG_CHARACTERS = 100
NAME_CHARACTERS = 500
"""Domain, difficulty, actor, session, external id and time are names, not texts."""
_LARGEST_NUMBER = 2**63


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest sizes the bank takes: bytes of UTF-8, and a number of tags."""

    task_bytes: int = 65_536
    memory_bytes: int = 65_536
    trajectory_bytes: int = 4_194_304
    tags: int = 32


def admitted_trace(report: NewTrace, *, limits: Limits, redactor: Redactor) -> NewTrace:
    """The report as it may be kept.

    Raises:
        InputError: a text is empty where one is needed, too large, or cannot be stored; or the privacy
            mode is "block" and it holds a secret.
    """
    required_text(report.task, "task")
    _within(_size(report.task), limits.task_bytes, "task")
    if report.trajectory is not None:
        clean_json(report.trajectory, "trajectory")
        _within(_size(report.trajectory), limits.trajectory_bytes, "trajectory")
    _check_one_of(report.outcome, get_args(Outcome), "outcome")
    _check_time(report.time, "time")
    _check_metadata(report, limits, "metadata")
    for name in ("domain", "external_id", "session", "actor"):
        _check_name(getattr(report, name), name)
    kept, _ = redact_record(redactor, replace(report, tags=_tags(report.tags, limits)))
    return kept


def admitted_item(item: MemoryItem, *, limits: Limits, redactor: Redactor, field: str = "memory") -> MemoryItem:
    """The item as it may be kept; raises `InputError` as `admitted_trace` does, naming `field`."""
    required_text(item.text, f"{field}.text")
    context = item.error_context
    texts = {name: getattr(item, name) for name in ("text", "title", "description", "content")}
    if context is not None:
        texts |= {name: getattr(context, name) for name in ("error_type", "failure_pattern", "corrective_guidance")}
    for name, text in texts.items():
        clean_text(text, f"{field}.{name}")
    _within(sum(map(_size, texts.values())), limits.memory_bytes, field)
    _check_one_of(item.outcome, get_args(Outcome), f"{field}.outcome")
    _check_one_of(item.origin, get_args(Origin), f"{field}.origin")
    _check_one_of(item.trust, get_args(Trust), f"{field}.trust")
    _check_time(item.time, f"{field}.time")
    _check_metadata(item, limits, f"{field}.metadata")
    for name in ("domain", "difficulty", "external_id", "session", "actor"):
        _check_name(getattr(item, name), f"{field}.{name}")
    kept, _ = redact_record(redactor, replace(item, tags=_tags(item.tags, limits)))
    return kept


def _size(value: JsonValue) -> int:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode("utf-8", "surrogatepass"))


def _within(size: int, limit: int, field: str) -> None:
    if size > limit:
        raise InputError(f"{field} is {size} bytes, the limit is {limit}: send a shorter one")


def _check_one_of(value: str, allowed: Sequence[str], field: str) -> None:
    # A type says so already, but a caller in Python may not check types, and a search cannot read another word.
    if value not in allowed:
        raise InputError(f"{field} is {str(value)[:40]!r}: send one of {', '.join(allowed)}")


def _check_time(value: EventTime, field: str) -> None:
    if isinstance(value, str):
        _check_name(value, field)
    elif value is not None and not abs(value) < _LARGEST_NUMBER:
        raise InputError(f"{field} is a number out of range: send ISO 8601 text or an order number below 2**63")


def _check_metadata(record: NewTrace | MemoryItem, limits: Limits, field: str) -> None:
    metadata = dict(record.metadata)
    clean_json(metadata, field)
    _within(_size(metadata), limits.memory_bytes, field)


def _check_name(value: str | None, field: str) -> None:
    if value is None:
        return
    required_text(value, field)
    if len(value) > NAME_CHARACTERS:
        raise InputError(
            f"{field} has {len(value)} characters, the limit is {NAME_CHARACTERS}: send a name, not a text"
        )


def _tags(tags: Sequence[str], limits: Limits) -> tuple[str, ...]:
    if len(tags) > limits.tags:
        raise InputError(f"{len(tags)} tags, the limit is {limits.tags}: send the most telling ones")
    for tag in tags:
        required_text(tag, "a tag")
        if len(tag) > TAG_CHARACTERS:
            raise InputError(f"a tag has {len(tag)} characters, the limit is {TAG_CHARACTERS}: {tag[:40]!r}…")
    return tuple(dict.fromkeys(tag.strip() for tag in tags))
