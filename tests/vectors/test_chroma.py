"""ChromaDBAdapter where it differs from other indexes: ownership, cache, servers that fail, what it must not do."""

import gc
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_bank.errors import StorageError
from reasoning_bank.vectors.chroma import ChromaDBAdapter
from reasoning_bank.vectors.connection import Cloud, Server, connect, disconnect
from reasoning_bank.vectors.generation import Build, Generation
from reasoning_bank.vectors.index import Vector, ids_digest
from reasoning_bank.vectors.ownership import Ownership

from .conftest import MODEL, WAIT_S, ChromaServer, named, unit


async def opened(adapter: ChromaDBAdapter, build: Build | None = None) -> ChromaDBAdapter:
    """Return the adapter with an empty build that answers."""
    assert await adapter.claim()
    await adapter.serve(await adapter.begin(build or Build(1, MODEL)))
    adapter.vouch()
    return adapter


@pytest.fixture
async def adapter(tmp_path: Path) -> AsyncIterator[ChromaDBAdapter]:
    adapter = await opened(ChromaDBAdapter(tmp_path / "vectors", timeout_s=WAIT_S))
    yield adapter
    await adapter.close()


async def test_before_it_is_opened_it_answers_nothing_and_says_so(tmp_path: Path) -> None:
    adapter = ChromaDBAdapter(tmp_path / "vectors")
    assert await adapter.nearest("w", unit(1, 1)[0], 3) is None
    assert (await adapter.state("w")).status == "closed"
    with pytest.raises(StorageError, match="not open"):
        await adapter.apply("w", named(unit(1, 1)), [], seq=1)
    await adapter.close()


async def test_an_unknown_workspace_is_left_to_exact_search(adapter: ChromaDBAdapter) -> None:
    await adapter.apply("w", named(unit(1, 2)), [], seq=2)
    assert await adapter.nearest("another", unit(1, 1)[0], 3) is None


async def test_a_query_of_another_dimension_is_left_to_exact_search(adapter: ChromaDBAdapter) -> None:
    await adapter.apply("w", named(unit(1, 2)), [], seq=2)
    assert await adapter.nearest("w", unit(1, 1, dim=7)[0], 3) is None
    assert adapter.status == "ready"


async def test_a_repeated_query_is_answered_from_memory_until_something_changes(adapter: ChromaDBAdapter) -> None:
    vectors = unit(1, 3)
    await adapter.apply("w", named(vectors), [], seq=3)
    first = await adapter.nearest("w", vectors[0], 2)
    assert await adapter.nearest("w", vectors[0], 2) is first
    await adapter.apply("w", [("twin", vectors[0])], ["m0"], seq=4)
    after = await adapter.nearest("w", vectors[0], 2)
    assert after is not None
    assert after.hits[0].id == "twin"
    statistics = adapter.get_cache_statistics()
    assert (statistics["hits"], statistics["misses"], statistics["max_size"]) == (1, 2, 1000)


async def test_without_its_cache_every_query_asks_chroma(tmp_path: Path) -> None:
    adapter = await opened(ChromaDBAdapter(tmp_path / "vectors", enable_memory_cache=False, timeout_s=WAIT_S))
    await adapter.apply("w", named(unit(1, 3)), [], seq=3)
    assert await adapter.nearest("w", unit(1, 1)[0], 2) == await adapter.nearest("w", unit(1, 1)[0], 2)
    assert adapter.get_cache_statistics()["hits"] == 0
    await adapter.close()


async def test_a_second_adapter_neither_reads_nor_writes_the_directory(
    adapter: ChromaDBAdapter, tmp_path: Path
) -> None:
    await adapter.apply("w", named(unit(1, 3)), [], seq=3)
    second = ChromaDBAdapter(tmp_path / "vectors")
    assert not await second.claim()
    assert (await second.state("w")).status == "waiting"
    with pytest.raises(StorageError) as caught:
        await second.open(Build(1, MODEL))
    assert caught.value.code == "locked"
    with pytest.raises(StorageError) as caught:
        await second.begin(Build(2, MODEL))
    assert caught.value.code == "locked"
    await second.close()
    assert (await adapter.state("w")).status == "ready"


async def test_whoever_lost_the_lock_file_stops_reading(adapter: ChromaDBAdapter, tmp_path: Path) -> None:
    await adapter.apply("w", named(unit(1, 3)), [], seq=3)
    (tmp_path / "vectors.lock").unlink()
    with pytest.raises(StorageError) as caught:
        await adapter.apply("w", [], ["m0"], seq=4)
    assert caught.value.code == "locked"
    thief = Ownership(tmp_path / "vectors.lock")
    assert await anyio.to_thread.run_sync(thief.claim)
    assert not await adapter.claim()
    assert await adapter.nearest("w", unit(1, 1)[0], 1) is None
    await anyio.to_thread.run_sync(thief.release)


def test_the_lock_file_outlives_its_owner(tmp_path: Path) -> None:
    first, second = Ownership(tmp_path / "a.lock"), Ownership(tmp_path / "a.lock")
    assert first.claim()
    assert first.claim()
    assert not second.claim()
    first.release()
    assert second.claim()
    assert not first.held()
    second.release()
    assert (tmp_path / "a.lock").exists()


async def test_a_place_that_cannot_be_locked_is_an_error_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory", encoding="utf-8")
    adapter = ChromaDBAdapter(tmp_path / "file" / "vectors")
    with pytest.raises(StorageError, match="cannot be locked"):
        await adapter.claim()
    await adapter.close()


async def test_a_frozen_server_costs_a_search_its_time_limit_once(own_server: ChromaServer, tmp_path: Path) -> None:
    await own_server.ready()
    adapter = await opened(ChromaDBAdapter(tmp_path / "vectors", at=own_server.at, timeout_s=1.0))
    await adapter.apply("w", named(unit(1, 3)), [], seq=3)
    with own_server.frozen(), anyio.fail_after(WAIT_S):
        assert await adapter.nearest("w", unit(2, 1)[0], 1) is None
        assert adapter.status == "unreachable"
        assert await adapter.nearest("w", unit(3, 1)[0], 1) is None
        # Its threads come back too: closing waits for none of them.
        await adapter.close()


async def test_a_server_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    adapter = ChromaDBAdapter(tmp_path / "vectors", at=Server(port=1), timeout_s=1.0)
    assert await adapter.claim()
    with pytest.raises(StorageError) as caught:
        await adapter.open(Build(1, MODEL))
    assert (caught.value.code, adapter.status) == ("io", "unreachable")
    await adapter.close()


# Chroma's client leaves its sockets open when its constructor fails.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_tenant_that_does_not_exist_is_named(chroma_server: ChromaServer, tmp_path: Path) -> None:
    at = Server(port=chroma_server.port, tenant="nobody")
    adapter = ChromaDBAdapter(tmp_path / "vectors", at=at, timeout_s=WAIT_S)
    assert await adapter.claim()
    with pytest.raises(StorageError, match="nobody"):
        await adapter.open(Build(1, MODEL))
    await adapter.close()
    gc.collect()


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 9), max_size=4), st.lists(st.integers(0, 9), max_size=3)),
        min_size=1,
        max_size=6,
    )
)
def test_any_history_leaves_what_a_dict_would_hold(steps: list[tuple[list[int], list[int]]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        generation, model = Generation(Path(place), Build(1, MODEL), batch_size=2, timeout_s=5), dict[str, Vector]()
        generation.create()
        for seq, (stored, deleted) in enumerate(steps, start=1):
            upserts = [(f"m{each}", unit(seq * 10 + each, 1)[0]) for each in stored if each not in deleted]
            generation.apply("w", upserts, [f"m{each}" for each in deleted], seq=seq)
            for each in deleted:
                model.pop(f"m{each}", None)
            model.update(upserts)
        held = generation.held("w")
        assert held is not None
        assert (held.count, held.digest) == (len(model), ids_digest(model) if model else held.digest)
        assert set(generation.vectors("w", [f"m{each}" for each in range(10)])) == set(model)
        for name, vector in model.items():
            found = generation.nearest("w", vector, 1)
            assert found is not None
            assert found.hits[0].id == name
        generation.close()


async def test_the_cloud_is_asked_for_no_more_than_its_quota(chroma_server: ChromaServer, tmp_path: Path) -> None:
    at = Cloud("key", "default_tenant", "default_database", "127.0.0.1", chroma_server.port, ssl=False)
    adapter = ChromaDBAdapter(tmp_path / "vectors", batch_size=5000, at=at, timeout_s=WAIT_S)
    await opened(adapter, Build(1, MODEL, str(tmp_path)))
    assert adapter.batch_size == 300
    await adapter.apply("w", named(unit(1, 320)), [], seq=320)
    found = await adapter.nearest("w", unit(2, 1)[0], 10_000)
    assert found is not None
    assert len(found.hits) == 300
    await adapter.close()


async def test_a_collection_of_another_distance_is_damaged(adapter: ChromaDBAdapter, tmp_path: Path) -> None:
    generation = adapter._serving
    assert generation is not None
    name = generation.build.collection_name("w")
    generation._opened().create_collection(name, embedding_function=None)
    with pytest.raises(StorageError, match="cosine"):
        await adapter.apply("w", named(unit(1, 1)), [], seq=1)
    assert adapter.status == "bad"


def test_the_key_of_the_cloud_is_never_shown() -> None:
    assert "s3cret" not in repr(Cloud("s3cret"))


async def test_the_env_file_of_a_project_is_not_read(
    chroma_server: ChromaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("CHROMA_SERVER_HOST=elsewhere.invalid\nIS_PERSISTENT=false\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    client = await anyio.to_thread.run_sync(lambda: connect(chroma_server.at, timeout_s=WAIT_S))
    assert client.heartbeat()
    await anyio.to_thread.run_sync(disconnect, client)


async def test_a_killed_attempt_to_build_leaves_nothing_in_the_next(
    chroma_server: ChromaServer, tmp_path: Path, bank_name: str
) -> None:
    build = Build(1, MODEL, bank_name)
    adapter = ChromaDBAdapter(tmp_path / "vectors", at=chroma_server.at, timeout_s=WAIT_S)
    assert await adapter.claim()
    abandoned = await adapter.begin(build)
    await adapter.fill(abandoned, "w", named(unit(1, 3)), seq=3)
    await adapter.serve(await adapter.begin(build))
    adapter.vouch()
    assert (await adapter.state("w")).count == 0
    abandoned.close()
    await adapter.close()


async def test_only_its_own_folders_are_ever_removed(adapter: ChromaDBAdapter, tmp_path: Path) -> None:
    (tmp_path / "vectors" / "notes").mkdir()
    (tmp_path / "vectors" / "000007").mkdir()
    await adapter.remove_others()
    assert sorted(each.name for each in (tmp_path / "vectors").iterdir()) == ["000001", "notes"]


def test_importing_the_room_does_not_import_chroma() -> None:
    code = "import sys, reasoning_bank.vectors.indexer; sys.exit('chromadb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_workspace_named_like_a_hash_is_not_the_one_that_is_hashed() -> None:
    build, strange = Build(1, MODEL), "über/alles"
    hashed = build.collection_name(strange)
    assert build.collection_name(hashed.split("h-")[1].removesuffix(".c")) != hashed
    names = [build.collection_name(each) for each in ("w", "W", "w-c", "a" * 64, "a" * 65, strange, "..", "")]
    assert len({name.lower() for name in names if name != build.collection_name("W")}) == len(names) - 1
    assert all(3 <= len(name) <= 512 for name in names)
    others = Build(2, MODEL).others
    assert others.match(build.collection_name("w"))
    assert not others.match(Build(2, MODEL).collection_name("w"))
    assert not others.match(Build(1, MODEL, "another bank").collection_name("w"))
