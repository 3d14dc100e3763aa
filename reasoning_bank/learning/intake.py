"""How items become memories: redaction, the gate, the quarantine, and one insert with all that it promises.

The same way for what an assistant sends, what rules or a model distil, and what is captured from a conversation.
Looking at items takes longer than storing them, so that is done first and holds no lock.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from reasoning_bank.learning.admission import Limits, admitted_item, admitted_trace
from reasoning_bank.learning.gate import Evidence, Refusal, refusal
from reasoning_bank.learning.merging import taught_again
from reasoning_bank.learning.recall import RecentlyServed
from reasoning_bank.learning.work import CONSOLIDATE, EMBED, promise
from reasoning_bank.privacy.doors import redact_record
from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.privacy.suspicion import suspected
from reasoning_bank.records import Counters, Memory, MemoryItem, NewTrace, Source, StoredMemory
from reasoning_bank.storage import memories, outbox, rejections
from reasoning_bank.storage.rejections import Rejection
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash
from reasoning_bank.text.sanity import clean_text

KNOWN: Final = "identical to a memory the bank already has"


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item that may be kept, with its packed terms; `suspected` is why it will not be served."""

    item: MemoryItem
    terms: bytes
    suspected: str | None


@dataclass(frozen=True, slots=True)
class Examined:
    """What the gate made of some items: those to keep by content hash, in order, and those refused."""

    kept: Mapping[str, Prepared]
    refused: tuple[Rejection, ...]

    def told(self) -> tuple[StoredMemory, ...]:
        """The refused ones, as their author is told of them."""
        return tuple(StoredMemory(None, "rejected", each.title, each.reason) for each in self.refused)


class Intake:
    """Lets traces and items into the bank; for worker threads.

    Args:
        redactor: gives the redactor of a workspace (its own privacy mode, else the default).
        served: what this process has just served; its echo is not learned again.
        now: the clock, aware UTC.
        new_id: makes an unguessable id with the given prefix.
        consolidates: somebody looks for what new memories repeat or contradict.
    """

    def __init__(
        self,
        *,
        redactor: Callable[[str], Redactor],
        limits: Limits,
        served: RecentlyServed,
        now: Callable[[], datetime],
        new_id: Callable[[str], str],
        consolidates: bool = False,
    ) -> None:
        self.now = now
        self.new_id = new_id
        self._redactor = redactor
        self._limits = limits
        self._served = served
        self._consolidates = consolidates

    def admit(self, workspace: str, report: NewTrace) -> NewTrace:
        """Return a trace as it may be kept; raises `InputError` as `admitted_trace` does, or for its workspace."""
        redactor = self._redactor(workspace)
        redactor.refuse(workspace, "workspace")
        return admitted_trace(report, limits=self._limits, redactor=redactor)

    def admit_key(self, workspace: str, key: str) -> str:
        """Return an idempotency key as it may be kept: the same for the same key; raises `InputError`."""
        return self._redactor(workspace).name(clean_text(key, "idempotency_key"), "idempotency_key")

    def admit_source(self, workspace: str, source: Source) -> Source:
        """Return the way something came as it may be kept: a client names itself; raises `InputError`."""
        return redact_record(self._redactor(workspace), source)[0]

    def admit_items(self, workspace: str, items: Iterable[MemoryItem]) -> tuple[MemoryItem, ...]:
        """Return items as they may be kept; raises `InputError` as `admitted_item` does."""
        redactor = self._redactor(workspace)
        return tuple(
            admitted_item(item, limits=self._limits, redactor=redactor, field=f"memories[{index}]")
            for index, item in enumerate(items)
        )

    def examine(
        self, workspace: str, items: Iterable[MemoryItem], evidence: Evidence, *, force: bool = False
    ) -> Examined:
        """Look at redacted items; nothing is stored.

        Args:
            evidence: of the traces they claim to come from.
            force: keep what is not worth keeping, too; what is suspicious is quarantined all the same.
        """
        kept: dict[str, Prepared] = {}
        refused: list[Rejection] = []
        for item in items:
            reason = refusal(item, evidence, force=force) or (None if force else self._echo(workspace, item))
            if reason:
                refused.append(Rejection(item.title, str(reason), item.made_by))
            else:
                kept[content_hash(item)] = _prepared(item)
        return Examined(kept, tuple(refused))

    def keep(
        self,
        connection: Connection,
        workspace: str,
        trace_id: str,
        examined: Examined,
        *,
        priority: int = outbox.FRESH,
    ) -> list[StoredMemory]:
        """Store what was examined, as memories of a stored trace; in the caller's transaction.

        Args:
            priority: of the background work it leaves.
        """
        now = self.now()
        known = memories.by_content_hash(connection, workspace, examined.kept)
        fresh = {
            digest: self._memory(workspace, trace_id, digest, prepared)
            for digest, prepared in examined.kept.items()
            if digest not in known
        }
        terms = [examined.kept[digest].terms for digest in fresh]
        memories.insert(connection, list(fresh.values()), terms)
        promise(connection, workspace, EMBED, [memory.id for memory in fresh.values()], now=now, priority=priority)
        if self._consolidates:
            served = [memory.id for memory in fresh.values() if memory.quarantined_for is None]
            promise(connection, workspace, CONSOLIDATE, served, now=now, priority=priority)
        rejections.add(connection, workspace, trace_id, examined.refused, now=now)
        for digest, id_ in known.items():
            item = examined.kept[digest].item
            taught_again(connection, workspace, id_, trace_id=trace_id, trust=item.trust, now=now)
        held = memories.by_ids(connection, workspace, known.values())
        merged = [_told_again(held[known[digest]]) for digest in examined.kept if digest in known]
        return [_told(memory) for memory in fresh.values()] + merged

    def _echo(self, workspace: str, item: MemoryItem) -> Refusal | None:
        echoed = self._served.echoed(workspace, item)
        return (
            Refusal("echo of a memory", f"{echoed} was just served and says this: rate it instead") if echoed else None
        )

    def _memory(self, workspace: str, trace_id: str, digest: str, prepared: Prepared) -> Memory:
        now = self.now()
        item = replace(prepared.item, session=trace_id)
        return Memory(
            id=self.new_id("m"),
            workspace=workspace,
            trace_id=trace_id,
            item=item,
            counters=Counters(),
            created_at=now,
            updated_at=now,
            content_hash=digest,
            quarantined_for=prepared.suspected,
        )


def _prepared(item: MemoryItem) -> Prepared:
    reason = suspected(item)
    kept = replace(item, trust="quarantined") if reason else item
    return Prepared(kept, analyse(kept).packed(), reason)


def _told(memory: Memory) -> StoredMemory:
    if memory.quarantined_for is None:
        return StoredMemory(memory.id, "created", memory.item.title)
    return StoredMemory(memory.id, "quarantined", memory.item.title, memory.quarantined_for)


def _told_again(memory: Memory) -> StoredMemory:
    if memory.quarantined_for is None:
        return StoredMemory(memory.id, "merged", memory.item.title, KNOWN)
    return StoredMemory(memory.id, "quarantined", memory.item.title, f"{KNOWN}: {memory.quarantined_for}")
