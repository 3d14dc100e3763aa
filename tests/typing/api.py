"""The public API as a user's type checker sees it. Never executed: pyright reads it in `make check`."""

from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

from reasoning_bank import (
    BatchEmbeddingGenerator,
    CacheBackend,
    CacheConfig,
    ChromaDBAdapter,
    Compression,
    Embedder,
    EvictionPolicy,
    Memory,
    MemoryCache,
    MemoryItem,
    NewTrace,
    PerformanceMonitor,
    PromptCompressor,
    Query,
    ReasoningBank,
    ReasoningBankError,
    Retrieval,
    RetrievedMemory,
    Settings,
    StoreResult,
    Trace,
    cached,
    compress,
    get_cache,
    load_settings,
)
from reasoning_bank.records import Counters


async def remember_and_recall(directory: Path) -> str:
    settings = load_settings(data_dir=directory)
    assert_type(settings, Settings)
    async with ReasoningBank(settings) as bank:
        item = MemoryItem(text="a task", title="a title", content="advice", tags=("x",))
        stored = await bank.store_trace("default", NewTrace(task="a task", outcome="success"), memories=[item])
        assert_type(stored, StoreResult)
        found = await bank.retrieve("default", Query(task="a similar task", k=5))
        assert_type(found, Retrieval)
        assert_type(found.memories, tuple[RetrievedMemory, ...])
        assert_type(found.timings_ms, Mapping[str, float])
        ids = [hit.memory.id for hit in found.memories]
        assert_type(await bank.rate("default", ids, "helped"), dict[str, Counters])
        assert_type(await bank.get_trace("default", stored.trace_id), Trace)
        assert_type(await bank.forget_memory("default", ids[0]), Memory)
        assert_type(await bank.compress("a long prompt", max_tokens=100), Compression)
        return found.context


def parts_stand_alone(embedder: Embedder, directory: Path) -> None:
    cache = MemoryCache[Memory](max_size=10, ttl_seconds=60)
    assert_type(cache.get(("workspace", "id")), Memory | None)
    BatchEmbeddingGenerator(embedder, batch_size=32)
    ChromaDBAdapter(persist_directory=directory, enable_memory_cache=True, cache_size=1000, batch_size=32)
    PerformanceMonitor().record_cache_hit()


@cached("lengths", ttl=60)
async def length(text: str) -> int:
    return len(text)


async def results_are_kept() -> int:
    config = CacheConfig(backend=CacheBackend.MEMORY, max_size=100, eviction_policy=EvictionPolicy.LFU)
    await get_cache("mine", config).set("key", 1, ttl=60)
    return await length("text")


def prompts_need_no_bank() -> str:
    found = compress("a long prompt", "what?", max_tokens=100, preserve=["x"], on_overflow="error")
    assert_type(found, Compression)
    return found.text


def errors_have_one_root(compressor: PromptCompressor) -> Compression | None:
    try:
        return compressor.compress("text", max_tokens=10)
    except ReasoningBankError:
        return None
