"""What an open bank tells its monitor beside what it times: what its rooms add up, and how things stand."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from reasoning_bank.errors import BusyError, StorageError
from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.monitoring.sampling import Sampler
from reasoning_bank.opening.clockwork import Clockwork
from reasoning_bank.opening.language import Language
from reasoning_bank.settings import Settings
from reasoning_bank.storage import outbox, workspaces
from reasoning_bank.storage.database import Database

if TYPE_CHECKING:
    from reasoning_bank.llm.pool import PoolStatistics
    from reasoning_bank.opening.rooms import Rooms


def process_sampler(settings: Settings, database: Database, monitor: PerformanceMonitor, clock: Clockwork) -> Sampler:
    """What looks at the process and at the bank every few seconds; to be run as long as the bank is open."""

    async def look() -> Mapping[str, float]:
        try:
            return await database.read(lambda connection: _standing(connection, clock.now()))
        except (StorageError, BusyError):
            return {}  # whoever needs the bank is told by the call that failed

    return Sampler(monitor, directory=settings.data_dir, sample_s=settings.monitoring.sample_s, look_also=look)


def attach(rooms: "Rooms", monitor: PerformanceMonitor) -> None:
    """Let a monitor read what the rooms of an open bank add up, and how they stand; `monitor.detach` ends it."""
    database = rooms.database
    monitor.add_source("sql", lambda: _of_database(database))
    monitor.gauge("database.readers_in_use", lambda: database.statistics().readers.in_use)
    monitor.gauge("database.writes_waiting", lambda: database.statistics().writer.waiting)
    monitor.add_source("cache", rooms.caches.counters)
    for name, read in rooms.caches.gauges().items():
        monitor.gauge(f"cache.{name}", read)
    monitor.add_source("prefetch", rooms.prefetcher.counters)
    monitor.add_source("queue", lambda: _of_queue(rooms))
    monitor.add_source("embedding", lambda: _of_batches(rooms))
    monitor.add_source("compression", rooms.compressor.counters)
    monitor.gauge("embedding.waiting", lambda: rooms.model.generator.statistics().waiting)
    if rooms.language is not None:
        _attach_language(rooms.language, monitor)


def _attach_language(language: Language, monitor: PerformanceMonitor) -> None:
    def over_pools(figure: Callable[["PoolStatistics"], float]) -> float:
        return sum(figure(pool.statistics()) for pool in language.pools.values())

    monitor.gauge("llm.connections_in_use", lambda: over_pools(lambda pool: pool.in_use))
    monitor.gauge("llm.waiting", lambda: over_pools(lambda pool: pool.waiting))
    monitor.gauge(
        "llm.breakers_open",
        lambda: over_pools(lambda pool: sum(state != "closed" for state in pool.breakers.values())),
    )
    monitor.add_source(
        "llm",
        lambda: {
            "requests": over_pools(lambda pool: pool.requests),
            "connections": over_pools(lambda pool: pool.connections),
            "retries": over_pools(lambda pool: pool.retries),
            "waits": over_pools(lambda pool: pool.waits),
        },
    )


def _standing(connection: Connection, now: datetime) -> Mapping[str, float]:
    queued = outbox.counts(connection, now=now)
    return {
        "queue.pending": queued.pending,
        "queue.oldest_s": (now - queued.oldest).total_seconds() if queued.oldest else 0.0,
        "memories": workspaces.live_memories(connection),
    }


def _of_database(database: Database) -> Mapping[str, float]:
    statistics = database.statistics()
    return {
        "slow": statistics.slow,
        "rows_written": statistics.writer.rows,
        "reader_waits": statistics.readers.waits,
        "readers_above_kept": statistics.readers.above_kept,
    }


def _of_queue(rooms: "Rooms") -> Mapping[str, float]:
    return {
        f"{kind}.{name}": getattr(figures, name)
        for kind, figures in rooms.worker.statistics().items()
        for name in ("done", "failed", "dead")
    }


def _of_batches(rooms: "Rooms") -> Mapping[str, float]:
    statistics = rooms.model.generator.statistics()
    return {"texts": statistics.texts, "deduplicated": statistics.deduplicated}
