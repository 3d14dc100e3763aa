"""Settings of everything that is kept to save work."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Self, cast

from pydantic import Field, SecretStr, model_validator

from reasoning_bank.settings.fields import Group

IN_PROCESS: Final = {
    **dict.fromkeys(
        ("memories", "intents", "contexts", "calculations"),
        "worker threads look into it in microseconds, and only memory is faster than the work it saves",
    ),
    "tools": "it holds prompts as they came, which privacy has not seen: they never leave the process",
    "texts": "one prompt looks up hundreds at once, and only memory is faster than embedding them",
}
"""Caches that are in this process only, and why."""


class NamedCacheSettings(Group):
    """One cache: how much it keeps, how long, and where."""

    enabled: bool = Field(default=True, description="Keep anything at all.")
    size: int = Field(default=1_000, ge=0, le=10_000_000, description="Most entries; 0 is off.")
    ttl_s: float = Field(default=3_600.0, gt=0, le=2_592_000, description="Lifetime of an entry (seconds).")
    policy: Literal["lru", "lfu", "fifo", "ttl"] = Field(
        default="lru",
        description="Who goes first when it is full: the least recently used, the least often used, the oldest, or the"
        " one whose time ends first.",
    )
    backend: Literal["memory", "file", "redis", "hybrid"] = Field(
        default="memory",
        description="Where entries are: in this process, a file that outlives it, Redis, or memory in front of Redis"
        " (of the file where no `cache.redis_url` is set).",
    )
    max_mb: float = Field(default=32.0, gt=0, le=1_000_000, description="Most memory or disk of its entries (MB).")


def _kept(size: int, ttl_s: float, **more: Any) -> NamedCacheSettings:
    return NamedCacheSettings(size=size, ttl_s=ttl_s, **more)


class CacheSettings(Group):
    """What is kept to save real work, each cache under a table of its name. Answers are the same with caches off."""

    enabled: bool = Field(default=True, description="Use caches at all; false switches every one off.")
    workspaces: int = Field(
        default=64, ge=1, le=10_000, description="Workspaces whose search index is kept in memory (workspaces)."
    )
    memory_mb: float = Field(
        default=256.0, gt=0, le=1_000_000, description="Most memory of all caches of a process together (MB)."
    )
    auto_size: bool = Field(
        default=False,
        description="Let caches grow and shrink by what they measurably save, within `memory_mb`, and let what is read"
        " again and again live up to four times as long.",
    )
    warm: bool = Field(
        default=True, description="After the start, read into memory what was used last and most, in the background."
    )
    prefetch: bool = Field(
        default=True, description="After an answer with `detail=index`, read the full memories before they are asked."
    )
    redis_url: SecretStr | None = Field(
        default=None, description="Redis server of the caches that use one: redis://host:port/0 or rediss://…."
    )
    redis_prefix: str = Field(
        default="rb", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="First part of every key in Redis."
    )
    memories: NamedCacheSettings = Field(default=_kept(1_000, 3_600.0), description="Memories that were read.")
    retrieval: NamedCacheSettings = Field(default=_kept(500, 300.0), description="Whole answers of searches.")
    intents: NamedCacheSettings = Field(default=_kept(1_000, 1_800.0), description="What queries were read as.")
    queries: NamedCacheSettings = Field(default=_kept(1_000, 86_400.0), description="Embeddings of queries.")
    texts: NamedCacheSettings = Field(
        default=_kept(5_000, 86_400.0), description="Embeddings of other texts, such as units of prompts."
    )
    contexts: NamedCacheSettings = Field(default=_kept(500, 3_600.0), description="Formatted context blocks.")
    llm: NamedCacheSettings = Field(
        default=_kept(1_000, 86_400.0, backend="file", max_mb=64.0), description="Answers of language models."
    )
    profiles: NamedCacheSettings = Field(
        default=_kept(500, 600.0), description="Profiles and lists of workspaces: counts, tags, top memories."
    )
    tools: NamedCacheSettings = Field(
        default=_kept(2_000, 180.0), description="Results of compress_prompt and get_memory."
    )
    calculations: NamedCacheSettings = Field(default=_kept(5_000, 60.0), description="Token counts of texts.")

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, given: Any) -> Any:
        """Lays a table that says less than all over the defaults of the cache of its name."""
        if not isinstance(given, Mapping):
            return given
        values = dict(cast("Mapping[str, Any]", given))
        for name in NAMES:
            default = cls.model_fields[name].default
            if isinstance(values.get(name), Mapping):
                values[name] = default.model_dump() | dict(values[name])
        return values

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name, cache in self.named().items():
            if cache.backend != "memory" and name in IN_PROCESS:
                raise ValueError(
                    f"cache.{name}.backend is {cache.backend!r} and can only be 'memory': {IN_PROCESS[name]}"
                )
            if cache.backend == "redis" and self.redis_url is None:
                raise ValueError(
                    f"cache.{name}.backend is 'redis': set cache.redis_url, such as redis://127.0.0.1:6379/0"
                )
        return self

    def named(self) -> dict[str, NamedCacheSettings]:
        """Every cache by its name, in the order of declaration."""
        return {name: getattr(self, name) for name in NAMES}


NAMES: Final = tuple(
    name for name, field in CacheSettings.model_fields.items() if field.annotation is NamedCacheSettings
)
"""The names of the caches."""
