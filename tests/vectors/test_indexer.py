"""The index follows the truth, whatever happens to either of them."""

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from reasoning_bank.errors import StorageError
from reasoning_bank.storage import index_state, memories
from reasoning_bank.vectors.chroma import ChromaDBAdapter
from reasoning_bank.vectors.connection import Server
from reasoning_bank.vectors.index import ids_digest
from reasoning_bank.vectors.indexer import Indexer

from .conftest import DIM, WAIT_S, Bank, ChromaServer, unit


def ids_of(count: int, first: int = 0) -> list[str]:
    return [f"m{each}" for each in range(first, first + count)]


def entries(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir()) if directory.is_dir() else []


@asynccontextmanager
async def indexed(
    bank: Bank, directory: Path, at: Server | None = None, **options: float
) -> AsyncGenerator[tuple[Indexer, ChromaDBAdapter]]:
    """A new process, as far as the index can tell: an adapter and its indexer."""
    adapter = ChromaDBAdapter(directory, batch_size=64, at=at, timeout_s=WAIT_S)
    indexer = Indexer(bank.database, adapter, now=bank.now, index_from=int(options.get("index_from", 1)))
    try:
        yield indexer, adapter
    finally:
        await adapter.close()


@pytest.fixture
def vectors_dir(data_dir: Path) -> Path:
    return data_dir / "vectors"


async def test_it_indexes_what_is_embedded_and_nothing_else(bank: Bank, vectors_dir: Path) -> None:
    vectors = unit(1, 100)
    await bank.store(ids_of(100), vectors)
    await bank.store(["later"], None)
    await bank.forget(["m5"])
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        assert await indexer.turn()
        state = await adapter.state("w")
        assert state.status == "ready"
        assert state.digest == ids_digest(each for each in ids_of(100) if each != "m5")
        found = await adapter.nearest("w", vectors[7], 3)
        assert found is not None
        assert found.hits[0].id == "m7"


async def test_it_follows_every_kind_of_change(bank: Bank, vectors_dir: Path) -> None:
    vectors = unit(1, 40)
    await bank.store(ids_of(30), vectors[:30])
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        await bank.store(ids_of(10, 30), vectors[30:])
        await bank.forget(["m1", "m2"])
        await bank.database.write(lambda c: memories.undelete(c, "w", ["m2"], bank.now()))
        await bank.embed(["m3"], unit(9, 1))
        await bank.database.write(lambda c: memories.add_used(c, "w", ["m4"]))
        await indexer.turn()
        state = await adapter.state("w")
        assert state.digest == ids_digest(each for each in ids_of(40) if each != "m1")
        found = await adapter.nearest("w", unit(9, 1)[0], 1)
        assert found is not None
        assert found.hits[0].id == "m3"
        assert found.applied_seq == state.applied_seq
        assert indexer.report().builds == 1


async def test_an_empty_bank_opens_nothing(bank: Bank, vectors_dir: Path) -> None:
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        assert await indexer.turn()
        assert adapter.status == "closed"
        assert entries(vectors_dir) == []


async def test_a_small_workspace_is_left_to_exact_search(bank: Bank, vectors_dir: Path) -> None:
    await bank.store(ids_of(5), unit(1, 5))
    async with indexed(bank, vectors_dir, index_from=6) as (indexer, adapter):
        await indexer.turn()
        assert adapter.status == "closed"
        await bank.store(["m5"], unit(2, 1))
        await indexer.turn()
        assert (await adapter.state("w")).count == 6


async def test_the_next_start_opens_what_is_there_and_catches_up(bank: Bank, vectors_dir: Path) -> None:
    vectors = unit(1, 20)
    await bank.store(ids_of(10), vectors[:10])
    async with indexed(bank, vectors_dir) as (indexer, _):
        await indexer.turn()
    await bank.store(ids_of(10, 10), vectors[10:])
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        assert indexer.report().builds == 0
        assert indexer.report().generation == 1
        assert (await adapter.state("w")).digest == ids_digest(ids_of(20))


async def test_a_batch_applied_but_not_noted_is_applied_again(bank: Bank, vectors_dir: Path) -> None:
    """What a kill between Chroma's commit and ours leaves behind: vectors that its metadata does not know of."""
    vectors = unit(1, 20)
    await bank.store(ids_of(10), vectors[:10])
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        await bank.store(ids_of(10, 10), vectors[10:])
        generation = adapter._serving
        assert generation is not None
        name = generation.build.collection_name("w")
        collection = next(each for each in generation._listed() if each.name == name)
        collection.upsert(ids=ids_of(5, 10), embeddings=vectors[10:15])
        collection.delete(ids=["m0"])
    await bank.forget(["m0"])
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        assert indexer.report().builds == 0
        assert (await adapter.state("w")).digest == ids_digest(ids_of(19, 1))


async def test_a_deleted_directory_is_noticed_and_built_anew(bank: Bank, vectors_dir: Path) -> None:
    vectors = unit(1, 30)
    await bank.store(ids_of(30), vectors)
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        shutil.rmtree(vectors_dir)
        assert await adapter.nearest("w", vectors[0], 3) is None
        assert adapter.status == "bad"
        await indexer.turn()
        found = await adapter.nearest("w", vectors[0], 1)
        assert found is not None
        assert found.hits[0].id == "m0"
        assert indexer.report().generation == 2
        assert entries(vectors_dir) == ["000002"]


async def test_a_directory_deleted_while_nobody_asks_is_noticed_too(bank: Bank, vectors_dir: Path) -> None:
    await bank.store(ids_of(3), unit(1, 3))
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        await indexer.turn()
        assert await indexer._idle()
        shutil.rmtree(vectors_dir)
        assert not await indexer._idle()
        await indexer._round()
        assert adapter.status == "ready"
        assert (await adapter.state("w")).count == 3


async def test_files_overwritten_while_running_are_built_anew(bank: Bank, vectors_dir: Path) -> None:
    await bank.store(ids_of(30), unit(1, 30))
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        database = vectors_dir / "000001" / "chroma.sqlite3"
        database.write_bytes(b"not a database" * 1000)
        await bank.store(["new"], unit(2, 1))
        with pytest.raises(StorageError):
            await indexer.turn()
        assert adapter.status == "bad"
        await indexer.turn()
        assert (await adapter.state("w")).digest == ids_digest([*ids_of(30), "new"])


async def test_other_ids_than_the_truth_has_are_found_out(bank: Bank, vectors_dir: Path) -> None:
    await bank.store(ids_of(10), unit(1, 10))
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        await adapter.apply("w", [("stranger", unit(3, 1)[0])], ["m1"], seq=0)
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        assert indexer.report().builds == 1
        assert (await adapter.state("w")).digest == ids_digest(ids_of(10))


async def test_other_vectors_than_the_truth_has_are_found_out(bank: Bank, vectors_dir: Path) -> None:
    await bank.store(ids_of(10), unit(1, 10))
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        await adapter.apply("w", list(zip(ids_of(10), unit(2, 10), strict=True)), [], seq=0)
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        assert indexer.report().builds == 1
        found = await adapter.nearest("w", unit(1, 10)[4], 1)
        assert found is not None
        assert found.hits[0].id == "m4"


async def test_another_model_is_built_beside_and_swapped(bank: Bank, vectors_dir: Path) -> None:
    await bank.store(ids_of(10), unit(1, 10))
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        wide = unit(2, 10, dim=DIM * 2)
        await bank.embed(ids_of(10), wide, model="other", active=False)
        await indexer.turn()
        assert indexer.report().model_id == "test-model"
        await bank.embed(ids_of(1), wide[:1], model="other")
        await indexer.turn()
        assert indexer.report().model_id == "other"
        found = await adapter.nearest("w", wide[3], 1)
        assert found is not None
        assert (found.hits[0].id, found.model_id) == ("m3", "other")
        assert await adapter.nearest("w", unit(1, 1)[0], 1) is None


async def test_a_rebuild_can_be_asked_for_by_who_does_not_own_it(bank: Bank, vectors_dir: Path) -> None:
    await bank.store(ids_of(4), unit(1, 4))
    async with indexed(bank, vectors_dir) as (owner, adapter), indexed(bank, vectors_dir) as (other, waiting):
        await owner.turn()
        assert not await other.turn()
        assert waiting.status == "waiting"
        assert await waiting.nearest("w", unit(1, 1)[0], 1) is None
        assert not await other.rebuild()
        await owner.turn()
        assert owner.report().generation == 2
        assert await owner.rebuild()
        assert (await adapter.state("w")).generation == "3"


async def test_ownership_moves_when_the_owner_closes(bank: Bank, vectors_dir: Path) -> None:
    await bank.store(ids_of(4), unit(1, 4))
    async with indexed(bank, vectors_dir) as (second, waiting):
        async with indexed(bank, vectors_dir) as (first, _):
            await first.turn()
            assert not await second.turn()
        assert await second.turn()
        assert (await waiting.state("w")).count == 4
        assert second.report().builds == 0


async def test_what_others_may_know_is_recorded(bank: Bank, vectors_dir: Path) -> None:
    await bank.store(ids_of(4), unit(1, 4))
    async with indexed(bank, vectors_dir) as (indexer, adapter):
        await indexer.turn()
        state = await adapter.state("w")
    (row,) = await bank.database.read(index_state.listing)
    assert (row.name, row.generation, row.dim, row.count, row.status) == ("chroma-embedded", 1, DIM, 4, "ready")
    assert (row.applied_seq, row.digest) == (state.applied_seq, state.digest)


async def test_running_keeps_up_by_itself_and_heals(bank: Bank, vectors_dir: Path) -> None:
    vectors = unit(1, 20)
    await bank.store(ids_of(10), vectors[:10])
    adapter = ChromaDBAdapter(vectors_dir, timeout_s=WAIT_S)
    indexer = Indexer(bank.database, adapter, now=bank.now, poll_s=0.02)

    async def until(count: int, generation: int) -> None:
        with anyio.fail_after(WAIT_S):
            while indexer.report().generation != generation or (await adapter.state("w")).count != count:  # noqa: ASYNC110
                await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(indexer.run)
        await until(10, 1)
        await bank.store(ids_of(10, 10), vectors[10:])
        indexer.wake()
        await until(20, 1)
        shutil.rmtree(vectors_dir)
        await until(20, 2)
        tasks.cancel_scope.cancel()
    await adapter.close()


async def test_a_server_serves_every_process_and_one_writes(
    bank: Bank, vectors_dir: Path, chroma_server: ChromaServer
) -> None:
    vectors = unit(1, 20)
    await bank.store(ids_of(10), vectors[:10])
    at = chroma_server.at
    async with indexed(bank, vectors_dir, at) as (owner, _), indexed(bank, vectors_dir, at) as (other, reader):
        assert await owner.turn()
        assert not await other.turn()
        first = await reader.nearest("w", vectors[3], 1)
        assert first is not None
        assert first.hits[0].id == "m3"
        await bank.store(ids_of(10, 10), vectors[10:])
        await owner.turn()
        await other.turn()
        second = await reader.nearest("w", vectors[13], 1)
        assert second is not None
        assert second.hits[0].id == "m13"
        assert second.applied_seq > first.applied_seq
        assert entries(vectors_dir) == []


async def test_a_server_that_goes_is_missed_and_found_again(
    bank: Bank, vectors_dir: Path, own_server: ChromaServer
) -> None:
    vectors = unit(1, 10)
    await bank.store(ids_of(10), vectors)
    await own_server.ready()
    async with indexed(bank, vectors_dir, own_server.at) as (indexer, adapter):
        await indexer.turn()
        own_server.stop()
        assert await adapter.nearest("w", vectors[0], 1) is None
        assert adapter.status == "unreachable"
        with pytest.raises(StorageError):
            await indexer.turn()
        own_server.start()
        await own_server.ready()
        await indexer.turn()
        found = await adapter.nearest("w", vectors[0], 1)
        assert found is not None
        assert found.hits[0].id == "m0"
        assert indexer.report().builds == 1


async def test_failures_are_told_and_tried_again_ever_later(bank: Bank, vectors_dir: Path) -> None:
    await bank.store(ids_of(3), unit(1, 3))
    async with indexed(bank, vectors_dir, Server(port=1)) as (indexer, _):
        pauses = [await indexer._round() for _ in range(3)]
        assert pauses == [2.0, 4.0, 8.0]
        assert "connect" in indexer.report().problem.lower()


async def test_a_server_that_lost_its_data_is_filled_again(
    bank: Bank, vectors_dir: Path, own_server: ChromaServer
) -> None:
    vectors = unit(1, 10)
    await bank.store(ids_of(10), vectors)
    await own_server.ready()
    async with indexed(bank, vectors_dir, own_server.at) as (indexer, adapter):
        await indexer.turn()
        own_server.stop()
        shutil.rmtree(own_server.directory)
        own_server.start()
        await own_server.ready()
        assert await adapter.nearest("w", vectors[0], 1) is None
        await indexer.turn()
        state = await adapter.state("w")
        assert (state.status, state.digest) == ("ready", ids_digest(ids_of(10)))


async def test_banks_on_one_server_do_not_meet(
    bank: Bank, tmp_path: Path, vectors_dir: Path, chroma_server: ChromaServer
) -> None:
    stranger = Bank(tmp_path / "other" / "bank.db", bank.now)
    at = chroma_server.at
    async with stranger.database:
        await bank.store(["mine"], unit(1, 1))
        await stranger.store(["yours"], unit(1, 1))
        async with (
            indexed(bank, vectors_dir, at) as (first, mine),
            indexed(stranger, tmp_path / "other" / "vectors", at) as (second, yours),
        ):
            await first.turn()
            await second.turn()
            await second.rebuild()
            for adapter, own in ((mine, "mine"), (yours, "yours")):
                found = await adapter.nearest("w", unit(1, 1)[0], 5)
                assert found is not None
                assert [hit.id for hit in found.hits] == [own]


async def test_a_build_with_too_many_dead_rows_is_replaced(
    bank: Bank, vectors_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasoning_bank.vectors.indexer.WORN_AT_LEAST", 20)
    await bank.store(ids_of(60), unit(1, 60))
    async with indexed(bank, vectors_dir) as (indexer, _):
        await indexer.turn()
        await bank.forget(ids_of(25))
        await indexer.turn()
        assert indexer.report().generation == 1
        await bank.store(["more"], unit(2, 1))
        await indexer.turn()
        assert indexer.report().generation == 2
