"""A bank small enough for a test: real storage, a real embedder, no server."""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection

from reasoning_bank.cache.config import CacheConfig
from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.cache.named import Cache
from reasoning_bank.embeddings.embedder import Embedder, Vectors
from reasoning_bank.records import Counters, Memory, MemoryItem, NewTrace, Query, Retrieval, Trace
from reasoning_bank.retrieval.meaning import QueryModel
from reasoning_bank.retrieval.options import RetrievalCaches, RetrievalOptions
from reasoning_bank.retrieval.retriever import Retriever
from reasoning_bank.retrieval.workspaces import VectorSpace
from reasoning_bank.storage import embeddings, memories, traces, workspaces
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.embeddings import EmbeddingRow
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import Field, content_hash, index_fields
from reasoning_bank.vectors.index import VectorIndex

START = datetime(2026, 1, 1, tzinfo=UTC)
PATIENT = RetrievalOptions(deadline_s=60)
"""What a loaded machine is late with is no loss in a test, unless it is about being late."""


class SmallBank:
    """Stores and embeds memories, and finds them again; ids are numbered from `first`."""

    def __init__(self, database: Database, embedder: Embedder, *, first: int = 1) -> None:
        self.database = database
        self.embedder = embedder
        self.encode: Callable[[Sequence[str]], Vectors] = lambda texts: embedder.encode(texts, "document")
        self.ready = True
        self._numbers = itertools.count(first)

    async def store(self, workspace: str, *items: MemoryItem, embed: bool = True) -> list[str]:
        """Stores each item as a memory, searchable by keyword, and by meaning unless it is not to be embedded."""
        trace = Trace(f"t{next(self._numbers):06d}", workspace, NewTrace("task"), START, "hash")
        kept = [self._memory(trace, item) for item in items]

        def write(connection: Connection) -> None:
            workspaces.ensure(connection, workspace, START)
            traces.insert(connection, trace)
            memories.insert(connection, kept, [analyse(item) for item in items])

        await self.database.write(write)
        ids = [memory.id for memory in kept]
        if embed:
            await self.embed(workspace, *ids)
        return ids

    def _memory(self, trace: Trace, item: MemoryItem) -> Memory:
        return Memory(
            id=f"m{next(self._numbers):06d}",
            workspace=trace.workspace,
            trace_id=trace.id,
            item=item,
            counters=Counters(),
            created_at=START,
            updated_at=START,
            content_hash=content_hash(item),
        )

    async def embed(self, workspace: str, *ids: str) -> None:
        """Makes and keeps the vectors of memories."""
        identity = self.embedder.identity
        found = await self.database.read(lambda connection: memories.by_ids(connection, workspace, ids))
        fields = [(memory, field) for memory in found.values() for field in index_fields(memory.item)]
        # Short ones together, as the model's padding likes it.
        fields.sort(key=lambda pair: len(pair[1].text))
        vectors = [row for some in _in_batches(fields) for row in self.encode([field.text for _, field in some])]
        rows = [
            EmbeddingRow(
                memory_id=memory.id,
                workspace=workspace,
                field=field.name,
                chunk=0,
                model_id=identity.model_id,
                dim=identity.dim,
                precision=identity.precision,
                content_hash=hashlib.sha256(field.text.encode()).hexdigest(),
                weight=field.weight,
                vector=vector.astype("<f4").tobytes(),
            )
            for (memory, field), vector in zip(fields, vectors, strict=True)
        ]

        def write(connection: Connection) -> None:
            embeddings.register_model(connection, identity.model_id, identity.as_mapping(), START)
            embeddings.put(connection, rows)

        await self.database.write(write)

    def model(self) -> QueryModel:
        """The embedder as searches use it; `ready` says whether it can be used."""

        async def wait_ready(_: float) -> bool:
            return self.ready

        async def embed(texts: Sequence[str]) -> Vectors:
            return self.encode(texts)

        return QueryModel(VectorSpace(self.embedder.identity.model_id, self.embedder.identity.dim), wait_ready, embed)

    def retriever(
        self,
        *,
        options: RetrievalOptions = PATIENT,
        index: VectorIndex | None = None,
        now: Callable[[], datetime] = lambda: START,
        cache_size: int = 1000,
        with_model: bool = True,
    ) -> Retriever:
        """A fresh retriever, as another process would have."""
        return Retriever(
            database=self.database,
            model=self.model if with_model else lambda: None,
            caches=caches_of(cache_size),
            count_tokens=lambda text: len(text.split()),
            now=now,
            index=index,
            options=options,
        )


def caches_of(size: int) -> RetrievalCaches:
    """Fresh caches of so many entries each; 0 keeps nothing."""
    config = CacheConfig(max_size=size)
    return RetrievalCaches(
        memories=MemoryCache(size),
        queries=Cache("queries", config),
        intents=MemoryCache(size),
        contexts=MemoryCache(size),
        retrieval=Cache("retrieval", config),
    )


def _in_batches(fields: list[tuple[Memory, Field]]) -> list[list[tuple[Memory, Field]]]:
    return [fields[start : start + 16] for start in range(0, len(fields), 16)]


async def found(retriever: Retriever, workspace: str, query: Query) -> list[str]:
    """Ids a search returns, best first."""
    return ids_of(await retriever.retrieve(workspace, query))


def ids_of(retrieval: Retrieval) -> list[str]:
    """Ids of what was retrieved, best first."""
    return [retrieved.memory.id for retrieved in retrieval.memories]
