"""Rows from elsewhere: redacted, but never gated, merged or dropped; those that are there already stay as they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime

from sqlalchemy import Connection

from reasoning_bank.learning.admission import Limits, admitted_item, admitted_trace
from reasoning_bank.learning.answers import digest, given
from reasoning_bank.learning.work import EMBED, promise
from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.privacy.suspicion import suspected
from reasoning_bank.records import (
    ImportedMemory,
    ImportedTrace,
    Links,
    Memory,
    MemoryItem,
    Source,
    StoredMemory,
    StoreResult,
    Trace,
)
from reasoning_bank.storage import lineage, memories, outbox, traces, workspaces
from reasoning_bank.storage.database import Database
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash
from reasoning_bank.text.sanity import clean_text

IMPORT = Source("import")


class TraceImporter:
    """Writes traces from elsewhere with the memories they came with; for worker threads.

    Args:
        redactor: gives the redactor of a workspace.
        max_pending: pieces of background work above which nothing is imported until some is done.
    """

    def __init__(
        self,
        database: Database,
        *,
        redactor: Callable[[str], Redactor],
        limits: Limits,
        now: Callable[[], datetime],
        max_pending: int = 100_000,
    ) -> None:
        self._database = database
        self._redactor = redactor
        self._limits = limits
        self._now = now
        self._max_pending = max_pending

    def store(
        self,
        workspace: str,
        batch: Sequence[ImportedTrace],
        identified: Callable[[ImportedTrace], ImportedTrace],
        *,
        source: Source = IMPORT,
    ) -> list[StoreResult]:
        """Store rows in one transaction.

        Args:
            identified: gives a redacted trace and its memories the ids they lack, always the same for the same
                words; what is there already is left as it is and reported with the reason "already stored".
            source: the way they came.

        Raises:
            BusyError: too much background work waits; nothing is stored, and the error says when to try again.
        """
        self._database.read_now(lambda connection: outbox.refuse_above(connection, self._max_pending))
        redactor = self._redactor(workspace)
        redactor.refuse(workspace, "workspace")
        admitted = [identified(self._admitted(trace, redactor)) for trace in batch]
        terms = {given(memory.id): analyse(memory.item).packed() for trace in admitted for memory in trace.memories}
        return self._database.write_now(
            lambda connection: _store(connection, workspace, admitted, terms, now=self._now(), source=source)
        )

    def _admitted(self, trace: ImportedTrace, redactor: Redactor) -> ImportedTrace:
        def named(id_: str | None) -> str | None:
            return redactor.name(clean_text(id_, "an id"), "an id") if id_ else id_

        kept = tuple(
            replace(
                _apart(memory, admitted_item(memory.item, limits=self._limits, redactor=redactor), redactor),
                id=named(memory.id),
                superseded_by=named(memory.superseded_by),
                links=_cleaned(memory.links, redactor),
            )
            for memory in trace.memories
        )
        report = admitted_trace(trace.report, limits=self._limits, redactor=redactor)
        return replace(trace, report=report, id=named(trace.id), memories=kept)


def _apart(memory: ImportedMemory, item: MemoryItem, redactor: Redactor) -> ImportedMemory:
    """The memory with its redacted item, in quarantine where it was before or speaks to its reader."""
    before = memory.quarantined_for and redactor.text(memory.quarantined_for, "a reason").text
    reason = before or suspected(item)
    return replace(memory, item=replace(item, trust="quarantined") if reason else item, quarantined_for=reason)


def _cleaned(links: Links, redactor: Redactor) -> Links:
    return Links(
        tuple(redactor.name(each, "a source") for each in links.sources),
        tuple(
            (redactor.name(id_, "an id"), redactor.text(reason, "a reason").text) for id_, reason in links.contradicts
        ),
    )


def _store(
    connection: Connection,
    workspace: str,
    batch: Sequence[ImportedTrace],
    terms: Mapping[str, bytes],
    *,
    now: datetime,
    source: Source,
) -> list[StoreResult]:
    workspaces.ensure(connection, workspace, now)
    there = memories.existing_ids(
        connection, workspace, [given(memory.id) for trace in batch for memory in trace.memories]
    )
    known = traces.existing_ids(connection, workspace, [given(trace.id) for trace in batch])
    results: list[StoreResult] = []
    told: list[Trace] = []
    fresh: list[ImportedMemory] = []
    rows: list[Memory] = []
    for trace in batch:
        trace_id = given(trace.id)
        if trace_id not in known:
            created = trace.created_at or now
            told.append(Trace(trace_id, workspace, trace.report, created, digest(asdict(trace.report)), source))
            known.add(trace_id)
        new = [memory for memory in trace.memories if memory.id not in there]
        there.update(given(memory.id) for memory in new)
        fresh += new
        rows += [_imported(memory, workspace, trace_id, now) for memory in new]
        results.append(_result(trace, trace_id, {given(memory.id) for memory in new}))
    traces.insert(connection, *told)
    memories.insert(connection, rows, [terms[row.id] for row in rows])
    _link(connection, workspace, fresh, now)
    living = [row.id for row in rows if row.deleted_at is None]
    promise(connection, workspace, EMBED, living, now=now, priority=outbox.BULK)
    return results


def _link(connection: Connection, workspace: str, fresh: Sequence[ImportedMemory], now: datetime) -> None:
    """Ties memories to what they name; of two that contradict each other, the one that comes later finds the other."""
    for memory in fresh:
        if memory.links.sources:
            lineage.add_sources(connection, workspace, given(memory.id), memory.links.sources, now)
        for other, reason in memory.links.contradicts:
            lineage.contradict(connection, workspace, given(memory.id), other, reason=reason, now=now)


def _imported(memory: ImportedMemory, workspace: str, trace_id: str, now: datetime) -> Memory:
    created = memory.created_at or now
    return Memory(
        id=given(memory.id),
        workspace=workspace,
        trace_id=trace_id,
        item=memory.item,
        counters=memory.counters,
        created_at=created,
        updated_at=memory.updated_at or created,
        content_hash=content_hash(memory.item),
        superseded_by=memory.superseded_by,
        deleted_at=memory.deleted_at,
        quarantined_for=memory.quarantined_for,
    )


def _result(trace: ImportedTrace, trace_id: str, new: set[str]) -> StoreResult:
    stored = tuple(
        StoredMemory(memory.id, "created", memory.item.title, None if memory.id in new else "already stored")
        for memory in trace.memories
    )
    return StoreResult(trace_id, stored, "client", idempotency_key=trace_id)
