"""The caches of a bank, from the settings: one object that can name, show and clear them all."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio.to_thread

from reasoning_bank.cache.balancing import Balancer
from reasoning_bank.cache.codec import Codec, array_codec, json_codec
from reasoning_bank.cache.config import CacheBackend, CacheConfig, EvictionPolicy
from reasoning_bank.cache.lifetime import Lifetime
from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.cache.named import Cache
from reasoning_bank.cache.stores import Stores
from reasoning_bank.errors import InputError
from reasoning_bank.opening.clockwork import Clockwork
from reasoning_bank.records import JsonValue, Memory, Retrieval
from reasoning_bank.retrieval.intent import Intent
from reasoning_bank.retrieval.options import RetrievalCaches
from reasoning_bank.settings import Settings
from reasoning_bank.storage.profile import WorkspaceProfile

if TYPE_CHECKING:
    from reasoning_bank.retrieval.postings import FloatArray

DIRECTORY_NAME: Final = "caches"
ANSWERS_NAME: Final = "answers.sqlite3"
"""Of language models; where it has always been, since it is worth money."""
_LONGEST: Final = 4.0
"""Times its time to live that an entry may stay which goes on being read, where caches adapt."""
_MB: Final = 2**20
_TYPES: Final[Mapping[str, Any]] = {
    "retrieval": Retrieval,
    "profiles": WorkspaceProfile,
}
"""What leaves the process as JSON of a type; vectors leave it as numbers, answers of models as plain JSON."""


_GAUGES: Final[Mapping[str, Literal["cache_size", "bytes"]]] = {"entries": "cache_size", "bytes": "bytes"}
_ABSOLUTE: Final = {"llm"}
"""What their values depend on is in the keys; what others keep depends on settings and release too."""


@dataclass(frozen=True, slots=True)
class Caches:
    """The caches of a bank by name; see the settings of the same names."""

    memories: Cache[Memory]
    retrieval: Cache[Retrieval]
    intents: Cache[Intent]
    queries: "Cache[FloatArray]"
    texts: "Cache[FloatArray]"
    contexts: Cache[str]
    llm: Cache[Any]
    profiles: Cache[WorkspaceProfile]
    tools: Cache[Any]
    calculations: Cache[int]

    def named(self) -> dict[str, Cache[Any]]:
        """Every cache by its name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    async def statistics(self) -> dict[str, dict[str, JsonValue]]:
        """Backend, sizes, bounds and counters of every cache by its name."""
        named = self.named()
        return dict(zip(named, await asyncio.gather(*(each.statistics() for each in named.values())), strict=True))

    def counters(self) -> dict[str, float]:
        """`NAME.hits`, `.misses`, `.evictions` and `.expirations` of each cache that is on, in microseconds."""
        # One that is off misses by decision: nobody is to be warned of it.
        on = {name: cache for name, cache in self.named().items() if cache.config.enabled}
        return {f"{name}.{what}": n for name, cache in on.items() for what, n in cache.counters().items()}

    def gauges(self) -> dict[str, Callable[[], float]]:
        """What reads `NAME.entries` and `NAME.bytes` of every cache in memory."""
        return {
            f"{name}.{shown}": partial(_read, cache.memory, said)
            for name, cache in self.named().items()
            if cache.memory is not None
            for shown, said in _GAUGES.items()
        }

    def chosen(self, name: str | None = None) -> dict[str, Cache[Any]]:
        """The cache of a name, or all.

        Raises:
            InputError: there is no cache of this name.
        """
        named = self.named()
        if name is not None and name not in named:
            raise InputError(f"no cache {name!r}: there are {', '.join(named)}")
        return named if name is None else {name: named[name]}

    async def clear(self, name: str | None = None, *, workspace: str | None = None) -> None:
        """Empty one cache or all, of one workspace or of all; raises InputError as `chosen` does."""
        for cache in self.chosen(name).values():
            await cache.clear(workspace)

    def for_searches(self) -> RetrievalCaches:
        """Those that searches use."""
        return RetrievalCaches(
            memories=_in_process(self.memories),
            queries=self.queries,
            intents=_in_process(self.intents),
            contexts=_in_process(self.contexts),
            retrieval=self.retrieval,
        )

    def for_counting(self) -> MemoryCache[int]:
        """That of token counts."""
        return _in_process(self.calculations)


def balancer(caches: Caches, settings: Settings) -> Balancer:
    """What resizes the caches in memory within the memory of all together, less that of copies of what is shared."""
    named = caches.named()
    in_memory = {name: cache.memory for name, cache in named.items() if cache.memory is not None}
    configs = [cache.config for cache in named.values() if cache.config.backend is CacheBackend.HYBRID]
    copies = sum(config.max_bytes or 0 for config in configs if config.enabled)
    return Balancer(in_memory, budget_bytes=int(settings.cache.memory_mb * _MB) - copies)


async def open_caches(settings: Settings, clock: Clockwork, identity: bytes, stack: AsyncExitStack) -> Caches:
    """The caches of a bank; leaving `stack` lets go of files and connections.

    Args:
        settings: which are on, how large, how long and where.
        clock: time and chance.
        identity: what no other bank has: caches in one Redis are apart by it.
        stack: what is left when the bank is closed.

    Raises:
        ConfigError: a place cannot be one.
    """
    stores = Stores(prefix=f"{settings.cache.redis_prefix}:{_place(settings.data_dir, identity)}", now=clock.now)
    stack.push_async_callback(stores.aclose)
    configs = configurations(settings)
    shared = {name for name, config in configs.items() if config.backend is not CacheBackend.MEMORY}
    codecs, variant = await anyio.to_thread.run_sync(_codecs, settings, shared) if shared else ({}, "")

    def made(name: str, config: CacheConfig) -> Cache[Any]:
        return Cache(
            name,
            config,
            store=stores.of(name, config),
            codec=codecs.get(name),
            variant="" if name in _ABSOLUTE else variant,
            lifetime=Lifetime(clock.jitter),
        )

    caches = Caches(**{name: made(name, config) for name, config in configs.items()})
    await stores.begin()
    return caches


def configurations(settings: Settings) -> dict[str, CacheConfig]:
    """How each cache of a bank is made, by its name; those in memory have the memory of all together."""
    chosen = settings.cache
    named = chosen.named()
    wanted = sum(each.max_mb for each in named.values() if each.enabled and each.backend != "file")
    share = min(1.0, chosen.memory_mb / wanted) if wanted else 1.0
    return {
        name: CacheConfig(
            backend=CacheBackend(each.backend),
            max_size=each.size,
            default_ttl=each.ttl_s,
            eviction_policy=EvictionPolicy(each.policy),
            max_bytes=int(each.max_mb * _MB * (1.0 if each.backend == "file" else share)),
            enabled=chosen.enabled and each.enabled and each.size > 0,
            adaptive_ttl=_LONGEST if chosen.auto_size else 1.0,
            location=_location(settings, name, each.backend),
        )
        for name, each in named.items()
    }


def _location(settings: Settings, name: str, backend: str) -> str | None:
    url = settings.cache.redis_url
    if backend == "memory":
        return None
    if backend == "redis" or (backend == "hybrid" and url is not None):
        return url.get_secret_value() if url else None
    directory = settings.data_dir if name == "llm" else settings.data_dir / DIRECTORY_NAME
    return str(directory / (ANSWERS_NAME if name == "llm" else f"{name}.sqlite3"))


def _codecs(settings: Settings, shared: set[str]) -> tuple[dict[str, Codec[Any]], str]:
    """How values leave the process, and what they depend on beside their keys: settings and release."""
    typed: dict[str, Codec[Any]] = {name: json_codec(kind) for name, kind in _TYPES.items() if name in shared}
    arrays: dict[str, Codec[Any]] = {"queries": array_codec()} if "queries" in shared else {}
    deciding = (settings.retrieval, settings.vectors, settings.embeddings, settings.compression)
    said = [metadata.version("reasoning-bank"), *(each.model_dump_json() for each in deciding)]
    return typed | arrays, hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def _place(data_dir: Path, identity: bytes) -> str:
    # A copy of a bank has the same identity and soon another history: where it lies tells them apart.
    return hashlib.blake2b(str(data_dir).encode() + identity, digest_size=8).hexdigest()


def _read(cache: MemoryCache[Any], said: Literal["cache_size", "bytes"]) -> float:
    return cache.get_statistics()[said]


def _in_process(cache: Cache[Any]) -> MemoryCache[Any]:
    assert cache.memory is not None  # the settings refuse another backend for it
    return cache.memory
