"""Made-up lessons as a bank holds them; a large bank's vectors are noisy copies of those of the lessons embedded."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np

from reasoning_bank.evaluation.bench.lessons import lesson
from reasoning_bank.records import Counters, ImportedMemory, ImportedTrace, Memory, MemoryItem, NewTrace, Trace
from reasoning_bank.storage import embeddings, memories, traces
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.embeddings import EmbeddingRow, StoredVector
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash

WORKSPACE = "bench"
BLOCK = 500
START = datetime(2026, 1, 1, tzinfo=UTC)
"""When the first of the varied memories was stored; the others follow by the minute."""
NOISE = 0.35
"""Length of the noise added to a stored unit vector: cosine to its origin about .94, like a paraphrase."""


def item(number: int) -> MemoryItem:
    """The lesson of that number as a memory."""
    made = lesson(number)
    return MemoryItem(
        text=f"{made.title}. {made.description}. {made.task}",
        title=made.title,
        description=made.description,
        content=made.content,
        external_id=f"l{number}",
        outcome="success",
        origin="import",
    )


def lesson_row(number: int) -> ImportedTrace:
    """The lesson of that number as a row of an import."""
    own = item(number)
    report = NewTrace(task=lesson(number).task, outcome="success", external_id=own.external_id)
    return ImportedTrace(report, (ImportedMemory(own, id=f"m_{number}"),), id=f"tr_{number}")


def vary(database: Database, start: int, end: int) -> None:
    """Store the lessons from `start` to `end` with noisy copies of vectors that are there."""
    model = database.read_now(embeddings.active_model)
    assert model is not None
    stored = database.read_now(lambda connection: list(embeddings.load(connection, WORKSPACE, model)))
    rng = np.random.default_rng(start)
    numbers = iter(range(start, end))
    while block := list(islice(numbers, BLOCK)):
        kept = [_memory(number) for number in block]
        rows = list(_noisy(kept, stored, model, rng))

        def write(connection: Any, kept: list[Memory] = kept, rows: list[EmbeddingRow] = rows) -> None:
            for memory in kept:
                traces.insert(connection, _trace(memory))
            memories.insert(connection, kept, [analyse(memory.item) for memory in kept])
            embeddings.put(connection, rows)

        database.write_now(write)


def _memory(number: int) -> Memory:
    own, stored = item(number), START + timedelta(minutes=number)
    return Memory(f"m_{number}", WORKSPACE, f"tr_{number}", own, Counters(), stored, stored, content_hash(own))


def _trace(memory: Memory) -> Trace:
    report = NewTrace(task=memory.item.text, outcome="success", external_id=memory.item.external_id)
    return Trace(memory.trace_id, WORKSPACE, report, memory.created_at, memory.content_hash)


def _noisy(
    kept: list[Memory], stored: list[StoredVector], model: str, rng: np.random.Generator
) -> Iterator[EmbeddingRow]:
    by_field = {field: [one for one in stored if one.field == field] for field in {one.field for one in stored}}
    for memory in kept:
        for field, of_field in by_field.items():
            origin = of_field[int(rng.integers(len(of_field)))]
            vector = np.frombuffer(origin.vector, np.float32)
            noise = rng.standard_normal(vector.size).astype(np.float32)
            varied = vector + noise * (NOISE / np.linalg.norm(noise))
            varied /= np.linalg.norm(varied)
            yield EmbeddingRow(
                memory_id=memory.id,
                workspace=WORKSPACE,
                field=field,
                chunk=0,
                model_id=model,
                dim=vector.size,
                precision="fp32",
                content_hash=f"{memory.content_hash}-{field}",
                weight=origin.weight,
                vector=varied.astype(np.float32).tobytes(),
            )
