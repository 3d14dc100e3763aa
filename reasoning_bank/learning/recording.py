"""How a trace enters the bank: admitted, distilled, and written in one transaction.

All of it runs in the caller's worker thread; when the commit returns, the answer is durable. The same call again,
with the same key or the same words, finds the first and returns its ids.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Literal, cast

from sqlalchemy import Connection

from reasoning_bank.errors import InputError
from reasoning_bank.learning.admission import Limits, admitted_item, admitted_trace
from reasoning_bank.learning.distil import distil, found_by
from reasoning_bank.learning.gate import refusal
from reasoning_bank.learning.request import distil_request
from reasoning_bank.learning.work import CONSOLIDATE, EMBED, promise
from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.records import (
    Counters,
    ImportedMemory,
    ImportedTrace,
    JsonValue,
    Memory,
    MemoryItem,
    NewTrace,
    StoredMemory,
    StoreResult,
    Trace,
)
from reasoning_bank.storage import memories, traces, workspaces
from reasoning_bank.storage.database import Database
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash

MAX_DRAFTS = 5
"""Memories an assistant may distil from one trace (ReasoningBank keeps at most 3, at most 5 from several trials)."""

Distillation = Literal["client", "rules", "none"]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An item with its packed terms: analysing takes longer than storing, and needs no write lock."""

    item: MemoryItem
    terms: bytes


@dataclass(frozen=True, slots=True)
class _Call:
    """One admitted `store_trace` call; `items` by content hash."""

    workspace: str
    key: str
    report: NewTrace
    drafts: tuple[MemoryItem, ...] | None
    items: Mapping[str, _Prepared]
    refused: tuple[StoredMemory, ...]
    body_hash: str


class TraceRecorder:
    """Writes traces and their memories; for worker threads.

    Args:
        redactor: gives the redactor of a workspace (its own privacy mode, else the default).
        new_id: makes an unguessable id with the given prefix.
        consolidates: somebody looks for what new memories repeat or contradict.
    """

    def __init__(
        self,
        database: Database,
        *,
        redactor: Callable[[str], Redactor],
        limits: Limits,
        now: Callable[[], datetime],
        new_id: Callable[[str], str],
        consolidates: bool = False,
    ) -> None:
        self._database = database
        self._redactor = redactor
        self._limits = limits
        self._now = now
        self._new_id = new_id
        self._consolidates = consolidates

    def record(
        self,
        workspace: str,
        report: NewTrace,
        *,
        drafts: Sequence[MemoryItem] | None = None,
        idempotency_key: str | None = None,
    ) -> StoreResult:
        """Store what happened and what was learned; durable when it returns.

        Args:
            drafts: memories the assistant distilled itself; None lets the rules distil and asks the assistant to.
            idempotency_key: a repeated call with this key returns the first answer; with `drafts`, a call that
                follows up on one without them adds them to its trace. None derives a key from the words.

        Raises:
            InputError: the call cannot be stored as it is, or the key belongs to another call.
            StorageError: it was not written.
        """
        call = self._admitted(workspace, report, drafts, idempotency_key)
        return self._database.write_now(lambda connection: self._store(connection, call))

    def import_traces(
        self, workspace: str, batch: Sequence[ImportedTrace], identified: Callable[[ImportedTrace], ImportedTrace]
    ) -> list[StoreResult]:
        """Store rows from elsewhere in one transaction: redacted, but never gated, merged or dropped.

        Args:
            identified: gives a redacted trace and its memories the ids they lack, always the same for the same
                words; what is there already is left as it is and reported with the reason "already stored".
        """
        redactor = self._redactor(workspace)
        admitted = [identified(self._admitted_import(trace, redactor)) for trace in batch]
        terms = {_given(memory.id): analyse(memory.item).packed() for trace in admitted for memory in trace.memories}
        return self._database.write_now(lambda connection: self._store_imported(connection, workspace, admitted, terms))

    def _admitted(
        self, workspace: str, report: NewTrace, drafts: Sequence[MemoryItem] | None, key: str | None
    ) -> _Call:
        if drafts is not None and len(drafts) > MAX_DRAFTS:
            raise InputError(f"{len(drafts)} memories, the limit is {MAX_DRAFTS}: send the most useful ones")
        redactor = self._redactor(workspace)
        kept = admitted_trace(report, limits=self._limits, redactor=redactor)
        own = None if drafts is None else self._own(drafts, kept, redactor)
        items, refused = _gated(distil(kept) if own is None else own, kept)
        body_hash = _hash([_plain(kept), own and [_plain(item) for item in own]])
        return _Call(
            workspace=workspace,
            key=key or f"auto-{body_hash[:40]}",
            report=kept,
            drafts=own,
            items={content_hash(item): _prepared(item) for item in items},
            refused=refused if own is not None else (),
            body_hash=body_hash,
        )

    def _own(self, drafts: Sequence[MemoryItem], report: NewTrace, redactor: Redactor) -> tuple[MemoryItem, ...]:
        """The assistant's own memories, each found by its title, its description and the task."""
        found = [
            replace(
                item,
                text=found_by(item.title, item.description, report.task),
                outcome=report.outcome if item.outcome == "unknown" else item.outcome,
            )
            for item in drafts
        ]
        return tuple(
            admitted_item(item, limits=self._limits, redactor=redactor, field=f"memories[{index}]")
            for index, item in enumerate(found)
        )

    def _store(self, connection: Connection, call: _Call) -> StoreResult:
        earlier = traces.find_key(connection, call.workspace, call.key)
        if earlier is None:
            return self._store_new(connection, call)
        answer = _answer(cast("Mapping[str, JsonValue]", earlier.answer))
        if earlier.body_hash == call.body_hash:
            return replace(answer, replayed=True)
        return self._follow_up(connection, call, answer)

    def _store_new(self, connection: Connection, call: _Call) -> StoreResult:
        now = self._now()
        workspaces.ensure(connection, call.workspace, now)
        trace = Trace(self._new_id("tr"), call.workspace, call.report, now, _hash(_plain(call.report)))
        traces.insert(connection, trace)
        traces.claim_key(connection, call.workspace, call.key, call.body_hash, trace.id, now=now)
        stored = self._store_items(connection, call, trace.id)
        asks = call.drafts is None
        result = StoreResult(
            trace_id=trace.id,
            memories=(*stored, *call.refused),
            distillation=_distillation(call, stored),
            idempotency_key=call.key,
            distil_request=distil_request(call.report, idempotency_key=call.key) if asks else None,
        )
        self._remember(connection, call, result)
        return result

    def _follow_up(self, connection: Connection, call: _Call, answer: StoreResult) -> StoreResult:
        """The second call of an assistant that was asked to distil: its memories replace those of the rules."""
        trace = traces.by_id(connection, call.workspace, answer.trace_id)
        if trace is None or trace.report.task != call.report.task:
            raise InputError(f"idempotency_key {call.key!r} belongs to another task: send a new key")
        if call.drafts is None:
            return replace(answer, replayed=True)
        if answer.distillation == "client":
            raise InputError(f"idempotency_key {call.key!r} already has other memories: send a new key")
        stored = self._store_items(connection, call, answer.trace_id)
        if not stored:
            # Nothing of it passed: what the rules made stays, and the key stays open for a better try.
            return replace(answer, memories=(*answer.memories, *call.refused), distil_request=None)
        if fresh := [memory.id for memory in stored if memory.id is not None]:
            # Only what this trace made: one it was merged into is another trace's, and is not ours to hide.
            made = [memory.id for memory in answer.memories if memory.action == "created"]
            old = [id_ for id_ in made if id_ is not None and id_ not in fresh]
            memories.supersede(connection, call.workspace, old, fresh[0], self._now())
        result = StoreResult(answer.trace_id, (*stored, *call.refused), "client", call.key)
        self._remember(connection, call, result)
        return result

    def _store_items(self, connection: Connection, call: _Call, trace_id: str) -> list[StoredMemory]:
        known = memories.by_content_hash(connection, call.workspace, call.items)
        fresh = {digest: self._memory(call, trace_id, digest) for digest in call.items if digest not in known}
        terms = [call.items[digest].terms for digest in fresh]
        _insert(connection, call.workspace, list(fresh.values()), terms, self._now())
        if self._consolidates:
            ids = [memory.id for memory in fresh.values()]
            promise(connection, call.workspace, CONSOLIDATE, ids, now=self._now())
        merged = [
            StoredMemory(known[digest], "merged", prepared.item.title, "identical to a memory the bank already has")
            for digest, prepared in call.items.items()
            if digest in known
        ]
        return [StoredMemory(memory.id, "created", memory.item.title) for memory in fresh.values()] + merged

    def _memory(self, call: _Call, trace_id: str, digest: str) -> Memory:
        now = self._now()
        item = replace(call.items[digest].item, session=trace_id)
        return Memory(self._new_id("m"), call.workspace, trace_id, item, Counters(), now, now, digest)

    def _remember(self, connection: Connection, call: _Call, result: StoreResult) -> None:
        answer = cast("Mapping[str, JsonValue]", json.loads(json.dumps(asdict(result))))
        traces.put_answer(connection, call.workspace, call.key, answer, body_hash=call.body_hash)

    def _admitted_import(self, trace: ImportedTrace, redactor: Redactor) -> ImportedTrace:
        kept = tuple(
            replace(memory, item=admitted_item(memory.item, limits=self._limits, redactor=redactor))
            for memory in trace.memories
        )
        return replace(
            trace, report=admitted_trace(trace.report, limits=self._limits, redactor=redactor), memories=kept
        )

    def _store_imported(
        self, connection: Connection, workspace: str, batch: Sequence[ImportedTrace], terms: Mapping[str, bytes]
    ) -> list[StoreResult]:
        now = self._now()
        workspaces.ensure(connection, workspace, now)
        there = memories.existing_ids(
            connection, workspace, [_given(memory.id) for trace in batch for memory in trace.memories]
        )
        known = traces.existing_ids(connection, workspace, [_given(trace.id) for trace in batch])
        results: list[StoreResult] = []
        fresh: list[Memory] = []
        for trace in batch:
            trace_id = _given(trace.id)
            if trace_id not in known:
                created = trace.created_at or now
                traces.insert(
                    connection, Trace(trace_id, workspace, trace.report, created, _hash(_plain(trace.report)))
                )
                known.add(trace_id)
            new = [memory for memory in trace.memories if memory.id not in there]
            there.update(_given(memory.id) for memory in new)
            fresh += [_imported(memory, workspace, trace_id, now) for memory in new]
            results.append(_import_result(trace, trace_id, {_given(memory.id) for memory in new}))
        _insert(connection, workspace, fresh, [terms[memory.id] for memory in fresh], now)
        return results


def _gated(items: Iterable[MemoryItem], report: NewTrace) -> tuple[tuple[MemoryItem, ...], tuple[StoredMemory, ...]]:
    passed: list[MemoryItem] = []
    refused: list[StoredMemory] = []
    for item in items:
        reason = refusal(item, report)
        if reason is None:
            passed.append(item)
        else:
            refused.append(StoredMemory(None, "rejected", item.title, reason))
    return tuple(passed), tuple(refused)


def _distillation(call: _Call, stored: Sequence[StoredMemory]) -> Distillation:
    if not stored:
        return "none"
    return "rules" if call.drafts is None else "client"


def _prepared(item: MemoryItem) -> _Prepared:
    return _Prepared(item, analyse(item).packed())


def _insert(
    connection: Connection, workspace: str, fresh: Sequence[Memory], terms: Sequence[bytes], now: datetime
) -> None:
    if not fresh:
        return
    memories.insert(connection, fresh, terms)
    promise(connection, workspace, EMBED, [memory.id for memory in fresh if memory.deleted_at is None], now=now)


def _imported(memory: ImportedMemory, workspace: str, trace_id: str, now: datetime) -> Memory:
    created = memory.created_at or now
    return Memory(
        id=_given(memory.id),
        workspace=workspace,
        trace_id=trace_id,
        item=memory.item,
        counters=memory.counters,
        created_at=created,
        updated_at=memory.updated_at or created,
        content_hash=content_hash(memory.item),
        superseded_by=memory.superseded_by,
        deleted_at=memory.deleted_at,
    )


def _import_result(trace: ImportedTrace, trace_id: str, new: set[str]) -> StoreResult:
    stored = tuple(
        StoredMemory(memory.id, "created", memory.item.title, None if memory.id in new else "already stored")
        for memory in trace.memories
    )
    return StoreResult(trace_id, stored, "client", idempotency_key=trace_id)


def _given(id: str | None) -> str:
    if id is None:
        raise InputError("an imported trace or memory has no id: derive one from its words first")
    return id


def _answer(stored: Mapping[str, JsonValue]) -> StoreResult:
    rows = cast("list[dict[str, str | None]]", stored["memories"])
    return StoreResult(
        trace_id=str(stored["trace_id"]),
        memories=tuple(StoredMemory(**row) for row in rows),  # pyright: ignore[reportArgumentType] -- written by asdict
        distillation=cast("Distillation", stored["distillation"]),
        idempotency_key=str(stored["idempotency_key"]),
        distil_request=cast("Mapping[str, JsonValue] | None", stored["distil_request"]),
    )


def _plain(record: NewTrace | MemoryItem) -> object:
    return asdict(record)


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_iso, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")
