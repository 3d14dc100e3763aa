"""reasoning-bank: a durable, shared memory bank for AI assistants over MCP.

The public names below are imported when they are first used: `import reasoning_bank` loads nothing heavy.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasoning_bank.bank import ReasoningBank as ReasoningBank
    from reasoning_bank.cache.config import CacheBackend as CacheBackend
    from reasoning_bank.cache.config import CacheConfig as CacheConfig
    from reasoning_bank.cache.config import EvictionPolicy as EvictionPolicy
    from reasoning_bank.cache.decorator import cached as cached
    from reasoning_bank.cache.memory import MemoryCache as MemoryCache
    from reasoning_bank.cache.registry import cache_statistics as cache_statistics
    from reasoning_bank.cache.registry import close_caches as close_caches
    from reasoning_bank.cache.registry import get_cache as get_cache
    from reasoning_bank.compressing import compress as compress
    from reasoning_bank.compression.compressor import PromptCompressor as PromptCompressor
    from reasoning_bank.compression.results import Compression as Compression
    from reasoning_bank.concurrency.optimized import optimized_tool as optimized_tool
    from reasoning_bank.concurrency.parallel import run_parallel as run_parallel
    from reasoning_bank.concurrency.parallel import run_parallel_sync as run_parallel_sync
    from reasoning_bank.embeddings.batching import BatchEmbeddingGenerator as BatchEmbeddingGenerator
    from reasoning_bank.embeddings.embedder import Embedder as Embedder
    from reasoning_bank.errors import ReasoningBankError as ReasoningBankError
    from reasoning_bank.llm.pool import APIConnectionPool as APIConnectionPool
    from reasoning_bank.llm.responses import ResponsesAPIClient as ResponsesAPIClient
    from reasoning_bank.monitoring.advice import OptimizationPriority as OptimizationPriority
    from reasoning_bank.monitoring.advice import OptimizationType as OptimizationType
    from reasoning_bank.monitoring.advice import Optimizer as Optimizer
    from reasoning_bank.monitoring.advice import run_system_optimization as run_system_optimization
    from reasoning_bank.monitoring.comparison import benchmark_optimization as benchmark_optimization
    from reasoning_bank.monitoring.metrics import PerformanceMonitor as PerformanceMonitor
    from reasoning_bank.monitoring.profiling import profile as profile
    from reasoning_bank.monitoring.profiling import profile_memory as profile_memory
    from reasoning_bank.monitoring.profiling import profile_queries as profile_queries
    from reasoning_bank.monitoring.profiling import profile_time as profile_time
    from reasoning_bank.records import Memory as Memory
    from reasoning_bank.records import MemoryItem as MemoryItem
    from reasoning_bank.records import NewTrace as NewTrace
    from reasoning_bank.records import Query as Query
    from reasoning_bank.records import Retrieval as Retrieval
    from reasoning_bank.records import RetrievedMemory as RetrievedMemory
    from reasoning_bank.records import StoreResult as StoreResult
    from reasoning_bank.records import Trace as Trace
    from reasoning_bank.settings import Settings as Settings
    from reasoning_bank.settings import load_settings as load_settings
    from reasoning_bank.vectors.chroma import ChromaDBAdapter as ChromaDBAdapter

_HOMES = {
    "APIConnectionPool": "reasoning_bank.llm.pool",
    "BatchEmbeddingGenerator": "reasoning_bank.embeddings.batching",
    "CacheBackend": "reasoning_bank.cache.config",
    "CacheConfig": "reasoning_bank.cache.config",
    "ChromaDBAdapter": "reasoning_bank.vectors.chroma",
    "Compression": "reasoning_bank.compression.results",
    "Embedder": "reasoning_bank.embeddings.embedder",
    "EvictionPolicy": "reasoning_bank.cache.config",
    "Memory": "reasoning_bank.records",
    "MemoryCache": "reasoning_bank.cache.memory",
    "MemoryItem": "reasoning_bank.records",
    "NewTrace": "reasoning_bank.records",
    "OptimizationPriority": "reasoning_bank.monitoring.advice",
    "OptimizationType": "reasoning_bank.monitoring.advice",
    "Optimizer": "reasoning_bank.monitoring.advice",
    "PerformanceMonitor": "reasoning_bank.monitoring.metrics",
    "PromptCompressor": "reasoning_bank.compression.compressor",
    "Query": "reasoning_bank.records",
    "ReasoningBank": "reasoning_bank.bank",
    "ReasoningBankError": "reasoning_bank.errors",
    "ResponsesAPIClient": "reasoning_bank.llm.responses",
    "Retrieval": "reasoning_bank.records",
    "RetrievedMemory": "reasoning_bank.records",
    "Settings": "reasoning_bank.settings",
    "StoreResult": "reasoning_bank.records",
    "Trace": "reasoning_bank.records",
    "benchmark_optimization": "reasoning_bank.monitoring.comparison",
    "cache_statistics": "reasoning_bank.cache.registry",
    "cached": "reasoning_bank.cache.decorator",
    "close_caches": "reasoning_bank.cache.registry",
    "compress": "reasoning_bank.compressing",
    "get_cache": "reasoning_bank.cache.registry",
    "load_settings": "reasoning_bank.settings",
    "optimized_tool": "reasoning_bank.concurrency.optimized",
    "profile": "reasoning_bank.monitoring.profiling",
    "profile_memory": "reasoning_bank.monitoring.profiling",
    "profile_queries": "reasoning_bank.monitoring.profiling",
    "profile_time": "reasoning_bank.monitoring.profiling",
    "run_parallel": "reasoning_bank.concurrency.parallel",
    "run_parallel_sync": "reasoning_bank.concurrency.parallel",
    "run_system_optimization": "reasoning_bank.monitoring.advice",
}

__all__ = [
    "APIConnectionPool",
    "BatchEmbeddingGenerator",
    "CacheBackend",
    "CacheConfig",
    "ChromaDBAdapter",
    "Compression",
    "Embedder",
    "EvictionPolicy",
    "Memory",
    "MemoryCache",
    "MemoryItem",
    "NewTrace",
    "OptimizationPriority",
    "OptimizationType",
    "Optimizer",
    "PerformanceMonitor",
    "PromptCompressor",
    "Query",
    "ReasoningBank",
    "ReasoningBankError",
    "ResponsesAPIClient",
    "Retrieval",
    "RetrievedMemory",
    "Settings",
    "StoreResult",
    "Trace",
    "benchmark_optimization",
    "cache_statistics",
    "cached",
    "close_caches",
    "compress",
    "get_cache",
    "load_settings",
    "optimized_tool",
    "profile",
    "profile_memory",
    "profile_queries",
    "profile_time",
    "run_parallel",
    "run_parallel_sync",
    "run_system_optimization",
]


def __getattr__(name: str) -> object:
    """Returns a public name, imported on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'reasoning_bank' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
