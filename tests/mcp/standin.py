"""A bank that keeps memories in a dict and fails when told to: for what the surface does, not for what a bank does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import anyio

from reasoning_bank.compression.results import Compression
from reasoning_bank.errors import InputError, NotFoundError, ReasoningBankError
from reasoning_bank.learning.recording import LIBRARY
from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.records import (
    Counters,
    Genealogy,
    Memory,
    MemoryItem,
    NewTrace,
    Query,
    Retrieval,
    RetrievedMemory,
    Source,
    StoredMemory,
    StoreResult,
    Trace,
    Verdict,
)
from reasoning_bank.storage.tokens import Token

LONG_AGO = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Detail:
    memory: Memory
    trace: Trace
    genealogy: Genealogy


@dataclass
class StandInBank:
    """What tests look at: `queries` asked, `failing` raised by every call, `gate` that holds calls until it is set."""

    failing: BaseException | None = None
    opening_failures: list[BaseException] = field(default_factory=list[BaseException])
    memories: dict[tuple[str, str], Memory] = field(default_factory=dict[tuple[str, str], Memory])
    traces: dict[tuple[str, str], Trace] = field(default_factory=dict[tuple[str, str], Trace])
    queries: list[tuple[str, Query]] = field(default_factory=list[tuple[str, Query]])
    tokens: dict[str, Token] = field(default_factory=dict[str, Token])
    monitor: PerformanceMonitor = field(default_factory=PerformanceMonitor)
    gate: anyio.Event | None = None
    entered: int = 0
    closed: int = 0
    verified: int = 0
    cancelled: int = 0
    waiting: int = 0

    async def __aenter__(self) -> Self:
        self.entered += 1
        if self.opening_failures:
            raise self.opening_failures.pop(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed += 1

    async def _reached(self) -> None:
        if self.failing is not None:
            raise self.failing
        if self.gate is not None:
            self.waiting += 1
            try:
                await self.gate.wait()
            except anyio.get_cancelled_exc_class():
                self.cancelled += 1
                raise

    @property
    def rooms(self) -> Any:
        return SimpleNamespace(tokens=SimpleNamespace(ready=True, exact=True))

    @property
    def upkeep(self) -> Self:
        return self

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def context_block(
        self, workspace: str, found: Sequence[RetrievedMemory], *, token_budget: int, query: str = ""
    ) -> str:
        return "\n".join(f"{hit.memory.item.title}: {hit.memory.item.content}" for hit in found)[: token_budget * 8]

    def add(self, item: MemoryItem, *, workspace: str = "default", id: str | None = None) -> Memory:
        id = id or f"m{len(self.memories) + 1}"
        trace = Trace(f"t-{id}", workspace, NewTrace(task=item.text or item.title), LONG_AGO, "hash")
        memory = Memory(id, workspace, trace.id, item, Counters(), LONG_AGO, LONG_AGO, "hash")
        self.traces[workspace, trace.id] = trace
        self.memories[workspace, id] = memory
        return memory

    async def store_trace(
        self,
        workspace: str,
        trace: NewTrace,
        *,
        memories: Sequence[MemoryItem] | None = None,
        idempotency_key: str | None = None,
        source: Source = LIBRARY,
    ) -> StoreResult:
        await self._reached()
        stored = [self.add(replace(item, text=trace.task), workspace=workspace) for item in memories or ()]
        id = f"t{len(self.traces) + 1}"
        self.traces[workspace, id] = Trace(id, workspace, trace, LONG_AGO, "hash", source)
        return StoreResult(
            trace_id=id,
            memories=tuple(StoredMemory(memory.id, "created", memory.item.title) for memory in stored),
            distillation="client" if memories else "none",
            idempotency_key=idempotency_key or "derived",
            distil_request=None if memories else {"instructions": "Name lessons.", "schema": {"type": "object"}},
        )

    async def retrieve(self, workspace: str, query: Query) -> Retrieval:
        await self._reached()
        self.queries.append((workspace, query))
        if query.k > 100:
            raise InputError(f"k is {query.k}, the limit is 100")
        words = set(query.task.lower().split())
        found = [
            RetrievedMemory(memory, 0.9, "This failed before." if memory.item.outcome == "failure" else None)
            for (owner, _), memory in self.memories.items()
            if owner == workspace and words & set(f"{memory.item.text} {memory.item.title}".lower().split())
        ][: query.k]
        context = self.context_block(workspace, found, token_budget=query.token_budget)
        return Retrieval(tuple(found), context, 0, (), "none", {"total": 1.234})

    async def get_memories(self, workspace: str, ids: Sequence[str]) -> list[Detail]:
        await self._reached()
        missing = [id for id in ids if (workspace, id) not in self.memories]
        if missing:
            raise NotFoundError(f"no memory {missing[0]!r} in this workspace")
        found = [self.memories[workspace, id] for id in ids]
        return [Detail(m, self.traces[workspace, m.trace_id], await self.genealogy(workspace, m.id)) for m in found]

    async def genealogy(self, workspace: str, id: str) -> Genealogy:
        await self._reached()
        if (workspace, id) not in self.memories:
            raise NotFoundError(f"no memory {id!r} in this workspace")
        return Genealogy(id, self.memories[workspace, id].trace_id, (), (), (), None)

    async def get_trace(self, workspace: str, id: str) -> Trace:
        await self._reached()
        if (workspace, id) not in self.traces:
            raise NotFoundError(f"no trace {id!r} in this workspace")
        return self.traces[workspace, id]

    async def rate(
        self, workspace: str, ids: Sequence[str], verdict: Verdict, *, note: str | None = None, actor: str | None = None
    ) -> dict[str, Counters]:
        await self.get_memories(workspace, ids)
        return {id: replace(Counters(), **{verdict: 1}) for id in ids}

    async def update_memory(self, workspace: str, id: str, changes: Mapping[str, Any]) -> Memory:
        await self.get_memories(workspace, [id])
        memory = self.memories[workspace, id]
        self.memories[workspace, id] = changed = replace(memory, item=replace(memory.item, **changes))
        return changed

    async def forget_memory(self, workspace: str, id: str, *, undo: bool = False) -> Memory:
        await self.get_memories(workspace, [id])
        return replace(self.memories[workspace, id], deleted_at=None if undo else LONG_AGO)

    async def compress(self, prompt: str, **options: Any) -> Compression:
        await self._reached()
        return Compression(prompt[:10], 100, 10, "o200k_base", True, False, (), ((0, 10),))

    async def stats(self, workspace: str) -> dict[str, Any]:
        await self._reached()
        return {"workspace": workspace, "memories": sum(owner == workspace for owner, _ in self.memories)}

    async def performance(self) -> dict[str, Any]:
        return dict(self.monitor.get_statistics())

    async def health(self) -> dict[str, Any]:
        return {"status": "ok"}

    async def workspaces(self) -> list[dict[str, Any]]:
        return [{"name": name} for name in sorted({owner for owner, _ in self.memories})]

    async def complete(self, kind: str, prefix: str, workspace: str) -> list[str]:
        await self._reached()
        values = {
            "workspace": {owner for owner, _ in self.memories},
            "memory": {id for owner, id in self.memories if owner == workspace},
            "trace": {id for owner, id in self.traces if owner == workspace},
        }.get(kind, set[str]())
        return sorted(value for value in values if value.startswith(prefix))

    async def verify_token(self, secret: str) -> Token | None:
        if isinstance(self.failing, ReasoningBankError):
            raise self.failing
        self.verified += 1
        return self.tokens.get(secret)
