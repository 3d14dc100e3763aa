"""The truth on disk: what a writer waits for, what many rows in one call save, and what a cache spares a reader."""

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import anyio
import numpy as np

from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.evaluation.bench.filling import WORKSPACE, lesson_row
from reasoning_bank.evaluation.bench.lessons import lesson
from reasoning_bank.evaluation.bench.rows import Measured, cpu_milliseconds, milliseconds, paired
from reasoning_bank.evaluation.bench.workbench import Opened, Workbench
from reasoning_bank.records import ImportedTrace, MemoryDetail, MemoryItem, NewTrace
from reasoning_bank.storage import embeddings

STORED: Final = "stored"
"""The workspace that is written to, beside the one that is searched."""
BATCH: Final = 20
READ: Final = 20
READS: Final = 1_000
_FIRST: Final = 5_000_000
_POLL_S: Final = 0.005


def background_work(bench: Workbench) -> Measured:
    """`store_trace` and waiting until the memory is found by meaning, against `store_trace`, which only must last."""
    opened, model_id = bench.bank(), bench.model().identity.model_id
    numbers = itertools.count(_FIRST)

    def in_the_foreground() -> float:
        return _store(opened, next(numbers), until=model_id)

    def in_the_background() -> float:
        taken = _store(opened, next(numbers))
        # What it left behind must not meet the next one.
        opened.call(_until_embedded, opened, model_id)
        return taken

    in_the_background()
    return paired(in_the_foreground, in_the_background, rounds=2 * bench.scale.rounds)


def many_writes(bench: Workbench) -> Measured:
    """Rows stored one transaction each against all in one: milliseconds of a row."""
    opened = bench.empty_bank("written")
    numbers = itertools.count()

    def store(batches: Sequence[Sequence[ImportedTrace]]) -> float:
        async def all_of_them() -> float:
            started = time.perf_counter()
            for batch in batches:
                await opened.bank.store_many(STORED, batch)
            return 1000 * (time.perf_counter() - started) / BATCH

        return opened.call(all_of_them)

    return paired(
        lambda: store([[lesson_row(number)] for number in _some(numbers, BATCH)]),
        lambda: store([[lesson_row(number) for number in _some(numbers, BATCH)]]),
        rounds=bench.scale.rounds,
        figures={"rows": BATCH},
    )


def many_reads(bench: Workbench) -> Measured:
    """Memories read from the database with their traces, one query after the other against one for all."""
    opened = bench.bank(cached=False)
    ids = [f"m_{number}" for number in range(min(READ, bench.scale.memories))]
    single: list[float] = []

    async def one_by_one() -> None:
        for id in ids:
            started = time.perf_counter()
            await opened.bank.get_memories(WORKSPACE, [id])
            single.append(1000 * (time.perf_counter() - started))

    measured = paired(
        lambda: cpu_milliseconds(lambda: opened.call(one_by_one)),
        lambda: cpu_milliseconds(lambda: opened.call(opened.bank.get_memories, WORKSPACE, ids)),
        rounds=bench.scale.rounds,
        unit="CPU ms",
    )
    p95 = float(np.quantile(single, 0.95))
    return replace(measured, figures={"memories": len(ids), "mean_ms": statistics.mean(single), "p95_ms": p95})


def memory_access(bench: Workbench) -> Measured:
    """The same memory asked for again and again, of a bank without caches and of one with them."""
    bare, cached = bench.bank(cached=False), bench.bank()
    _read(cached, 1)
    return paired(
        lambda: cpu_milliseconds(lambda: _read(bare, READ)) / READ,
        lambda: cpu_milliseconds(lambda: _read(cached, READS)) / READS,
        rounds=bench.scale.rounds,
        unit="CPU ms",
    )


def cache_read(bench: Workbench) -> Measured:
    """A memory read from the database against the same one read from a memory cache."""
    bare = bench.bank(cached=False)
    cache = MemoryCache[MemoryDetail]()
    cache.put((WORKSPACE, "m_0"), _read(bare, 1))
    taken: list[float] = []

    def get() -> object:
        return cache.get((WORKSPACE, "m_0"))

    def from_cache() -> float:
        taken.append(milliseconds(get, times=10 * READS))
        return cpu_milliseconds(get, times=10 * READS)

    measured = paired(
        lambda: cpu_milliseconds(lambda: _read(bare, READ)) / READ,
        from_cache,
        rounds=bench.scale.rounds,
        unit="CPU ms",
    )
    return replace(measured, figures={"cached_ms": statistics.median(taken), "cached_longest_ms": max(taken)})


def _read(opened: Opened, times: int) -> MemoryDetail:
    """Read one memory so many times, with one hop to the bank's event loop."""

    async def read() -> MemoryDetail:
        for _ in range(times - 1):
            await opened.bank.get_memories(WORKSPACE, ["m_0"])
        return (await opened.bank.get_memories(WORKSPACE, ["m_0"]))[0]

    return opened.call(read)


def _store(opened: Opened, number: int, *, until: str = "") -> float:
    """Milliseconds of storing one trace with one memory, and until the model of that id has embedded it."""
    made = lesson(number)
    draft = MemoryItem(text="", title=made.title, description=made.description, content=made.content)

    async def call() -> float:
        started = time.perf_counter()
        await opened.bank.store_trace(STORED, NewTrace(task=made.task, outcome="success"), memories=[draft])
        if until:
            await _until_embedded(opened, until)
        return 1000 * (time.perf_counter() - started)

    return opened.call(call)


async def _until_embedded(opened: Opened, model_id: str) -> None:
    while True:
        coverage = await opened.bank.rooms.database.read(lambda c: embeddings.coverage(c, model_id, STORED))
        if coverage.embedded >= coverage.live:
            return
        await anyio.sleep(_POLL_S)


def _some(numbers: Iterator[int], count: int) -> list[int]:
    return list(itertools.islice(numbers, count))
