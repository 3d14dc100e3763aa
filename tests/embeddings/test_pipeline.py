import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import anyio
import anyio.to_thread
import numpy as np
import pytest

from reasoning_bank.embeddings.batching import BatchEmbeddingGenerator
from reasoning_bank.embeddings.embedder import BatchLimits
from reasoning_bank.embeddings.pipeline import MemoryEmbedder
from reasoning_bank.errors import UpstreamError
from reasoning_bank.records import MemoryItem
from reasoning_bank.storage import changes, embeddings, facts, memories
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.embeddings import Coverage, StoredVector
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash

from .conftest import NOW, GatedEmbedder, memory, stored, until


@pytest.fixture
async def generator(gated: GatedEmbedder) -> AsyncIterator[BatchEmbeddingGenerator]:
    async with BatchEmbeddingGenerator(gated) as running:
        yield running


@pytest.fixture
async def embedder(database: Database, generator: BatchEmbeddingGenerator) -> MemoryEmbedder:
    made = MemoryEmbedder(database, generator, now=lambda: NOW, owner="me")
    await made.register()
    return made


async def vectors(database: Database, embedder: MemoryEmbedder, workspace: str = "w") -> list[StoredVector]:
    model_id = embedder.identity.model_id
    return await database.read(lambda c: list(embeddings.load(c, workspace, model_id)))


def texts_run(gated: GatedEmbedder) -> list[str]:
    return sorted(text for run in gated.runs for text in run)


async def test_each_field_gets_a_vector_with_its_weight(
    database: Database, embedder: MemoryEmbedder, gated: GatedEmbedder
) -> None:
    await stored(database, memory("a", text="the task", content="ten words of advice are about half the weight here"))
    assert await embedder.embed_memories("w", ["a"]) == 1
    content, text = await vectors(database, embedder)
    assert (text.field, text.chunk, text.weight) == ("text", 0, 1.0)
    assert (content.field, content.weight) == ("content", pytest.approx(0.47, abs=0.03))
    expected = gated.encode(["the task"], "document")[0]
    np.testing.assert_array_equal(np.frombuffer(text.vector, "<f4"), expected)


async def test_embedding_again_runs_nothing(database: Database, embedder: MemoryEmbedder, gated: GatedEmbedder) -> None:
    await stored(database, memory("a"), memory("b"))
    assert await embedder.embed_memories("w", ["a", "b"]) == 2
    runs, seq = len(gated.runs), await database.read(lambda c: changes.last_seq(c, "w"))
    assert await embedder.embed_memories("w", ["a", "b"]) == 2
    assert len(gated.runs) == runs
    assert await database.read(lambda c: changes.last_seq(c, "w")) == seq, "no index has to look at them again"


async def test_known_text_is_not_embedded_again_in_another_workspace(
    database: Database, embedder: MemoryEmbedder, gated: GatedEmbedder
) -> None:
    await stored(database, memory("a", text="equal words"), memory("b", text="equal words", workspace="other"))
    await embedder.embed_memories("w", ["a"])
    await embedder.embed_memories("other", ["b"])
    assert texts_run(gated) == ["equal words"]
    mine, theirs = await vectors(database, embedder), await vectors(database, embedder, "other")
    assert mine[0].vector == theirs[0].vector


async def test_unknown_ids_and_those_of_other_workspaces_are_left_out(
    database: Database, embedder: MemoryEmbedder
) -> None:
    await stored(database, memory("a"), memory("b", workspace="other"))
    assert await embedder.embed_memories("w", ["a", "b", "gone"]) == 1


async def test_memory_changed_while_it_was_embedded_keeps_no_vector_of_its_old_words(
    database: Database, embedder: MemoryEmbedder, gated: GatedEmbedder
) -> None:
    old = memory("a", text="old words")
    await stored(database, old)
    gated.gate.clear()
    embedding = asyncio.create_task(embedder.embed_memories("w", ["a"]))
    await until(gated.entered.is_set)
    item = MemoryItem(text="new words")
    new = replace(old, item=item, content_hash=content_hash(item))
    await database.write(lambda c: memories.update(c, new, analyse(item)))
    gated.gate.set()
    assert await embedding == 0
    assert await vectors(database, embedder) == []
    assert await embedder.embed_memories("w", ["a"]) == 1


async def test_missing_vectors_of_all_workspaces_are_made_and_told(
    database: Database, embedder: MemoryEmbedder
) -> None:
    await stored(database, *(memory(f"m{n}", workspace="w" if n % 2 else "v") for n in range(150)))
    await database.write(lambda c: memories.soft_delete(c, "w", ["m1"], NOW))
    seen: list[Coverage] = []
    await embedder.embed_missing(progress=seen.append)
    assert seen == [Coverage(149, 64), Coverage(149, 128), Coverage(149, 149)]
    assert await embedder.activate()


async def test_interrupted_work_continues_where_it_stopped(
    database: Database, embedder: MemoryEmbedder, gated: GatedEmbedder
) -> None:
    await stored(database, *(memory(f"m{n:03}") for n in range(100)))

    def fail_after_the_first_step(coverage: Coverage) -> None:
        gated.error = UpstreamError("down")

    with pytest.raises(UpstreamError):
        await embedder.embed_missing(progress=fail_after_the_first_step)
    assert not await embedder.activate(), "memories without vectors would be lost to search by meaning"
    gated.error = None
    done = {text for run in gated.runs[:8] for text in run}
    gated.runs.clear()
    await embedder.embed_missing()
    assert len(done) == 64
    assert done.isdisjoint(texts_run(gated))
    assert await embedder.activate()


async def test_of_two_processes_one_embeds_and_the_other_waits(database: Database) -> None:
    await stored(database, *(memory(f"m{n:03}") for n in range(200)))
    models = [GatedEmbedder(limits=BatchLimits(16, 2_048, 64)) for _ in range(2)]
    async with BatchEmbeddingGenerator(models[0]) as first, BatchEmbeddingGenerator(models[1]) as second:
        both = [
            MemoryEmbedder(database, generator, now=lambda: NOW, owner=owner)
            for generator, owner in ((first, "one"), (second, "two"))
        ]
        await both[0].register()
        await asyncio.gather(*(embedder.embed_missing(poll_s=0.01) for embedder in both))
    assert sum(len(run) for model in models for run in model.runs) == 200, "nothing was embedded twice"


async def test_process_that_leaves_hands_its_lease_over_at_once(
    database: Database, embedder: MemoryEmbedder, gated: GatedEmbedder
) -> None:
    await stored(database, memory("a"))
    gated.gate.clear()
    leaving = asyncio.create_task(embedder.embed_missing())
    await until(gated.entered.is_set)
    leaving.cancel()
    await asyncio.wait({leaving})
    gated.gate.set()
    async with BatchEmbeddingGenerator(GatedEmbedder()) as generator:
        another = MemoryEmbedder(database, generator, now=lambda: NOW, owner="another")
        with anyio.fail_after(5):
            await another.embed_missing(poll_s=60)
    assert await vectors(database, embedder)


@pytest.mark.parametrize(
    ("lease_until", "goes_on"),
    [
        (NOW + timedelta(seconds=30), False),
        (NOW - timedelta(seconds=1), True),
        (NOW + timedelta(days=1), True),
    ],
    ids=["held", "run out", "written before the clock was set back"],
)
async def test_lease_of_a_dead_process_runs_out(
    database: Database, embedder: MemoryEmbedder, lease_until: datetime, goes_on: bool
) -> None:
    await stored(database, memory("a"))
    name = f"embedding_lease {embedder.identity.model_id}"
    await database.write(lambda c: facts.put(c, name, f"another {lease_until.isoformat()}"))
    with anyio.move_on_after(0.3 if not goes_on else 5) as waiting:
        await embedder.embed_missing(poll_s=0.01)
    assert waiting.cancelled_caught is not goes_on
    assert bool(await vectors(database, embedder)) is goes_on


async def test_clock_is_only_read_when_there_is_work(
    database: Database, generator: BatchEmbeddingGenerator, now: Callable[[], datetime]
) -> None:
    """A bank that is complete is not written to at each start."""
    embedder = MemoryEmbedder(database, generator, now=now, owner="me")
    await embedder.register()
    await embedder.activate()
    before = await anyio.to_thread.run_sync(database.data_version)
    await embedder.register()
    await embedder.embed_missing()
    await embedder.activate()
    assert await anyio.to_thread.run_sync(database.data_version) == before
