"""Changes of single memories, by id: new words, forgetting, and bringing back."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import cast

from sqlalchemy import Connection

from reasoning_bank.errors import InputError, NotFoundError
from reasoning_bank.learning.admission import Limits, admitted_item
from reasoning_bank.learning.distil import found_by
from reasoning_bank.learning.recording import EMBED
from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.records import ErrorContext, JsonValue, Memory, MemoryItem
from reasoning_bank.storage import memories, outbox, traces
from reasoning_bank.storage.database import Database
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash

EDITABLE = ("title", "description", "content", "tags", "domain", "difficulty", "outcome", "error_context")


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
        """The memory with new values of some of the `EDITABLE` fields; what is left out stays.

        Raises:
            NotFoundError: this workspace has no such memory.
            InputError: a field is not editable, or its value cannot be kept.
        """
        if unknown := sorted(set(changes) - set(EDITABLE)):
            raise InputError(f"cannot change {', '.join(unknown)}: send some of {', '.join(EDITABLE)}")
        redactor = self._redactor(workspace)

        def change(connection: Connection) -> Memory:
            memory = _existing(connection, workspace, id_)
            item = replace(memory.item, **_typed(changes))
            if memory.item.origin != "import":
                trace = traces.by_id(connection, workspace, memory.trace_id)
                task = trace.report.task if trace else ""
                item = replace(item, text=found_by(item.title, item.description, task))
            return self._write(connection, memory, admitted_item(item, limits=self._limits, redactor=redactor))

        return self._database.write_now(change)

    def forget(self, workspace: str, id_: str, *, undo: bool = False) -> Memory:
        """The memory, hidden from every search, or with `undo` found again; doing it twice changes nothing.

        Raises:
            NotFoundError: this workspace has no such memory.
        """

        def change(connection: Connection) -> Memory:
            _existing(connection, workspace, id_)
            if undo:
                if memories.undelete(connection, workspace, [id_], self._now()):
                    outbox.enqueue(connection, workspace, EMBED, {"ids": [id_]}, now=self._now())
            else:
                memories.soft_delete(connection, workspace, [id_], self._now())
            return _existing(connection, workspace, id_)

        return self._database.write_now(change)

    def _write(self, connection: Connection, memory: Memory, item: MemoryItem) -> Memory:
        now = self._now()
        changed = replace(memory, item=item, updated_at=now, content_hash=content_hash(item))
        memories.update(connection, changed, analyse(item))
        if changed.content_hash != memory.content_hash:
            outbox.enqueue(connection, memory.workspace, EMBED, {"ids": [memory.id]}, now=now)
        return changed


def _existing(connection: Connection, workspace: str, id_: str) -> Memory:
    found = memories.by_ids(connection, workspace, [id_]).get(id_)
    if found is None:
        raise NotFoundError(f"no memory {id_!r} in this workspace")
    return found


def _typed(changes: Mapping[str, JsonValue]) -> dict[str, object]:
    typed: dict[str, object] = dict(changes)
    if isinstance(tags := changes.get("tags"), list):
        typed["tags"] = tuple(cast("list[str]", tags))
    if isinstance(context := changes.get("error_context"), dict):
        typed["error_context"] = ErrorContext(**cast("dict[str, str]", context))
    return {
        name: "" if value is None and name in ("title", "description", "content") else value
        for name, value in typed.items()
    }
