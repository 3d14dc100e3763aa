"""Changes of single memories, by id: new words, forgetting, and bringing back."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection

from reasoning_bank.errors import InputError, NotFoundError
from reasoning_bank.learning.admission import Limits, admitted_item
from reasoning_bank.learning.contradiction import reconsider, reinstate
from reasoning_bank.learning.distil import found_by
from reasoning_bank.learning.trusting import quarantine
from reasoning_bank.learning.work import EMBED, promise
from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.privacy.suspicion import suspected
from reasoning_bank.records import ErrorContext, JsonValue, Memory, MemoryItem
from reasoning_bank.storage import memories, traces
from reasoning_bank.storage.database import Database
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash

EDITABLE = ("title", "description", "content", "tags", "domain", "difficulty", "outcome", "error_context")
_TEXTS = ("title", "description", "content")
_EMPTY: Mapping[str, object] = {**dict.fromkeys(_TEXTS, ""), "tags": (), "outcome": "unknown"}
_CONTEXT = tuple(field.name for field in fields(ErrorContext))


class MemoryEditor:
    """Changes memories of a bank; for worker threads."""

    def __init__(
        self,
        database: Database,
        *,
        redactor: Callable[[str], Redactor],
        limits: Limits,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._redactor = redactor
        self._limits = limits
        self._now = now

    def update(self, workspace: str, id_: str, changes: Mapping[str, JsonValue]) -> Memory:
        """The memory with new values of some of the `EDITABLE` fields; what is left out stays, None empties a field.

        Words that speak to the reader instead of about a task put it into quarantine.

        Raises:
            NotFoundError: this workspace has no such memory.
            InputError: a field is not editable, or its value cannot be kept.
        """
        if unknown := sorted(set(changes) - set(EDITABLE)):
            raise InputError(f"cannot change {', '.join(unknown)}: send some of {', '.join(EDITABLE)}")
        redactor = self._redactor(workspace)
        typed = {name: _typed(name, value) for name, value in changes.items()}

        def change(connection: Connection) -> Memory:
            memory = _existing(connection, workspace, id_)
            item = replace(memory.item, **typed)
            if memory.item.origin != "import":
                trace = traces.by_id(connection, workspace, memory.trace_id)
                task = trace.report.task if trace else ""
                item = replace(item, text=found_by(item.title, item.description, task))
            return self._write(connection, memory, admitted_item(item, limits=self._limits, redactor=redactor))

        return self._database.write_now(change)

    def forget(self, workspace: str, id_: str, *, undo: bool = False) -> Memory:
        """The memory, hidden from every search, or with `undo` found again; doing it twice changes nothing.

        What a forgotten memory had overruled holds again.

        Raises:
            NotFoundError: this workspace has no such memory.
        """

        def change(connection: Connection) -> Memory:
            _existing(connection, workspace, id_)
            now = self._now()
            if undo and memories.undelete(connection, workspace, [id_], now):
                promise(connection, workspace, EMBED, [id_], now=now)
                reconsider(connection, workspace, id_, now=now)
            elif not undo and memories.soft_delete(connection, workspace, [id_], now):
                reinstate(connection, workspace, id_, reason="what overruled it was forgotten", now=now)
            return _existing(connection, workspace, id_)

        return self._database.write_now(change)

    def _write(self, connection: Connection, memory: Memory, item: MemoryItem) -> Memory:
        now = self._now()
        if reason := suspected(item):
            quarantine(connection, memory.workspace, memory.id, reason=reason, now=now)
            item, memory = replace(item, trust="quarantined"), replace(memory, quarantined_for=reason)
        changed = replace(memory, item=item, updated_at=now, content_hash=content_hash(item))
        memories.update(connection, changed, analyse(item))
        if changed.content_hash != memory.content_hash:
            promise(connection, memory.workspace, EMBED, [memory.id], now=now)
        return changed


def _existing(connection: Connection, workspace: str, id_: str) -> Memory:
    found = memories.by_ids(connection, workspace, [id_]).get(id_)
    if found is None:
        raise NotFoundError(f"no memory {id_!r} in this workspace")
    return found


def _typed(name: str, value: JsonValue) -> Any:
    """The value of a field as a memory item holds it."""
    if value is None:
        return _EMPTY.get(name)
    if name == "tags":
        if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
            raise InputError("tags must be a list of texts")
        return tuple(cast("list[str]", value))
    if name == "error_context":
        return _error_context(value)
    if not isinstance(value, str):
        raise InputError(f"{name} must be text")
    return value


def _error_context(value: JsonValue) -> ErrorContext:
    if (
        not isinstance(value, dict)
        or not all(isinstance(text, str) for text in value.values())
        or value.keys() - _CONTEXT
    ):
        raise InputError(f"error_context must be an object of texts with some of {', '.join(_CONTEXT)}")
    return ErrorContext(**cast("dict[str, str]", value))
