"""How a named cache is configured."""

from dataclasses import dataclass, field
from enum import StrEnum


class CacheBackend(StrEnum):
    """Where a cache keeps its entries."""

    MEMORY = "memory"
    """In this process."""
    FILE = "file"
    """In a file that outlives the process."""
    REDIS = "redis"
    """In a Redis that several processes share."""
    HYBRID = "hybrid"
    """In this process, in front of what several processes share."""


class EvictionPolicy(StrEnum):
    """Which entry a full cache gives up first. Whatever the policy, an entry past its time to live is never served."""

    LRU = "lru"
    """The one not read for the longest time."""
    LFU = "lfu"
    """The one read least often."""
    FIFO = "fifo"
    """The one put first."""
    TTL = "ttl"
    """The one whose time is over first."""


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Bounds, time to live and place of one cache.

    Attributes:
        backend: where entries are kept.
        max_size: entries kept at most; 0 keeps none.
        default_ttl: seconds an entry may be served after it was put, unless it was put with its own.
        eviction_policy: which entry a full cache gives up first.
        max_bytes: bytes of all entries together at most; None bounds entries alone.
        enabled: False keeps nothing: every request is a miss.
        adaptive_ttl: so many times its time an entry may live in memory that is read in the second half of it; 1 is no
            longer.
        location: the path of the file, or the URL of the Redis (redis://host:port/0); memory has none, and with either
            `hybrid` keeps a copy in memory in front of it.

    Raises:
        ValueError: a bound is negative, or a time to live is not positive.
    """

    backend: CacheBackend = CacheBackend.MEMORY
    max_size: int = 1000
    default_ttl: float = 3600.0
    eviction_policy: EvictionPolicy = EvictionPolicy.LRU
    max_bytes: int | None = None
    enabled: bool = True
    adaptive_ttl: float = 1.0
    location: str | None = field(default=None, repr=False)  # a URL may hold a password

    def __post_init__(self) -> None:
        """Refuse bounds that mean nothing."""
        if self.max_size < 0 or (self.max_bytes is not None and self.max_bytes < 0):
            raise ValueError(f"bounds must be >= 0, got max_size={self.max_size!r} and max_bytes={self.max_bytes!r}")
        if self.default_ttl <= 0 or self.adaptive_ttl < 1:
            raise ValueError(
                f"default_ttl must be > 0 seconds and adaptive_ttl >= 1, got {self.default_ttl!r} and "
                f"{self.adaptive_ttl!r}"
            )
