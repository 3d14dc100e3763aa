"""Redaction of whole records: every text in every field, so that no door and no later field is forgotten."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from reasoning_bank.privacy.redaction import Finding, Redactor
from reasoning_bank.records import ErrorContext, JsonValue, MemoryItem, NewTrace, Source

Record = TypeVar("Record", NewTrace, MemoryItem, ErrorContext, Source)


def redact_record(redactor: Redactor, record: Record) -> tuple[Record, tuple[Finding, ...]]:
    """Return the trace or memory item without secrets in any of its texts, keys included, and what was found.

    Call it after `text.sanity` has accepted the record: JSON nested without bound would recurse without bound.

    Raises:
        InputError: the redactor blocks and found a secret; names the field and the kind.
    """
    findings: list[Finding] = []
    clean = {item.name: _redacted(redactor, getattr(record, item.name), item.name, findings) for item in fields(record)}
    return replace(record, **clean), tuple(findings)


def _redacted(redactor: Redactor, value: object, name: str, findings: list[Finding]) -> Any:
    if isinstance(value, str):
        redacted = redactor.text(value, name)
        findings += redacted.findings
        return redacted.text
    if isinstance(value, tuple):
        return tuple(_redacted(redactor, part, name, findings) for part in cast(tuple[object, ...], value))
    if is_dataclass(value):
        clean, found = redact_record(redactor, cast(ErrorContext, value))
        findings += found
        return clean
    if isinstance(value, list | Mapping):
        plain = (
            dict(cast(Mapping[str, JsonValue], value)) if isinstance(value, Mapping) else cast(list[JsonValue], value)
        )
        redacted_value = redactor.value(plain, name)
        findings += redacted_value.findings
        return redacted_value.value
    return value
