"""Vectors: one per memory, field, chunk and model; never of words a memory no longer has."""

from dataclasses import replace

from sqlalchemy import Connection

from reasoning_bank.storage import Database, changes, embeddings, memories
from reasoning_bank.storage.embeddings import Coverage, EmbeddingRow, StoredVector

from .samples import memory, moment, stored


def vector(
    id_: str = "m1", field: str = "text", model: str = "A", workspace: str = "w", **changes_: object
) -> EmbeddingRow:
    row = EmbeddingRow(id_, workspace, field, 0, model, 2, "fp32", f"{id_}-{field}", 1.0, b"12345678")
    return replace(row, **changes_)


def put(database: Database, *rows: EmbeddingRow) -> set[tuple[str, str]]:
    def work(connection: Connection) -> set[tuple[str, str]]:
        for model in ("A", "B"):
            embeddings.register_model(connection, model, {"dim": 2, "name": model}, moment())
        return embeddings.put(connection, rows)

    return database.write_now(work)


def loaded(database: Database, model: str = "A", ids: list[str] | None = None) -> list[StoredVector]:
    return database.read_now(lambda connection: list(embeddings.load(connection, "w", model, ids)))


def test_vectors_come_back_by_memory_field_and_chunk(database: Database) -> None:
    stored(database, memory("m1"), memory("m2"), memory("m1", "x"))
    rows = [vector("m2"), vector("m1", chunk=1), vector("m1", weight=0.5), vector("m1", "content")]
    assert put(database, *rows, vector("m1", workspace="x", vector=b"87654321")) == {
        ("w", "m1"),
        ("w", "m2"),
        ("x", "m1"),
    }
    assert [(row.id, row.field, row.chunk, row.weight) for row in loaded(database)] == [
        ("m1", "content", 0, 1.0),
        ("m1", "text", 0, 0.5),
        ("m1", "text", 1, 1.0),
        ("m2", "text", 0, 1.0),
    ]
    assert {row.vector for row in loaded(database)} == {b"12345678"}
    assert [row.id for row in loaded(database, ids=["m2", "no"])] == ["m2"]
    assert loaded(database, "B") == loaded(database, "unknown") == []


def test_forgotten_memories_load_only_by_name(database: Database) -> None:
    stored(database, memory("m1"), memory("m2"))
    put(database, vector("m1"), vector("m2"))
    database.write_now(lambda connection: memories.soft_delete(connection, "w", ["m1"], moment()))
    assert [row.id for row in loaded(database)] == ["m2"]
    assert [row.id for row in loaded(database, ids=["m1", "m2"])] == ["m1", "m2"]


def test_a_vector_is_replaced_and_noted_in_the_log(database: Database) -> None:
    stored(database, memory("m1"))
    put(database, vector())
    seen = database.read_now(lambda connection: changes.last_seq(connection, "w"))
    put(database, vector(vector=b"abcdefgh"))
    assert [row.vector for row in loaded(database)] == [b"abcdefgh"]
    found = database.read_now(lambda connection: changes.since(connection, "w", seen))
    assert [(change.memory_id, change.op) for change in found] == [("m1", "embedded")]


def test_a_vector_of_words_that_were_changed_meanwhile_is_not_kept(database: Database) -> None:
    stored(database, memory("m1"))
    assert put(database, vector(memory_hash="the hash of older words"), vector("unknown")) == set()
    assert put(database, vector(memory_hash=memory("m1").content_hash)) == {("w", "m1")}


def test_missing_and_coverage_count_live_memories_per_model(database: Database) -> None:
    stored(database, memory("m1"), memory("m2"), memory("m3"), memory("m4", "x"))
    put(database, vector("m1"), vector("m2", model="B"))
    database.write_now(lambda connection: memories.soft_delete(connection, "w", ["m3"], moment()))

    def asks(connection: Connection) -> None:
        assert embeddings.missing(connection, "A") == [("w", "m2"), ("x", "m4")]
        assert embeddings.missing(connection, "A", limit=1) == [("w", "m2")]
        assert embeddings.missing(connection, "B", "w") == [("w", "m1")]
        assert embeddings.missing(connection, "unknown", "x") == [("x", "m4")]
        assert embeddings.coverage(connection, "A") == Coverage(live=3, embedded=1)
        assert embeddings.coverage(connection, "A", "x") == Coverage(live=1, embedded=0)
        assert embeddings.coverage(connection, "unknown", "none") == Coverage(live=0, embedded=0)

    database.read_now(asks)


def test_known_texts_are_found_per_model_across_workspaces(database: Database) -> None:
    stored(database, memory("m1"), memory("m1", "x"))
    put(database, vector(content_hash="h1"), vector(workspace="x", content_hash="h2", vector=b"abcdefgh"))

    def known(model: str) -> dict[str, bytes]:
        return database.read_now(lambda connection: embeddings.known(connection, model, ["h1", "h2", "h3"]))

    assert known("A") == {"h1": b"12345678", "h2": b"abcdefgh"}
    assert known("B") == known("unknown") == {}


def test_the_first_model_is_active_until_another_is_made_so(database: Database) -> None:
    assert database.read_now(embeddings.active_model) is None
    put(database)
    assert database.read_now(embeddings.active_model) == "A"
    assert [(one.model_id, one.identity) for one in database.read_now(embeddings.models)] == [
        ("A", {"dim": 2, "name": "A"}),
        ("B", {"dim": 2, "name": "B"}),
    ]
    database.write_now(lambda connection: embeddings.activate(connection, "B"))
    assert database.read_now(embeddings.active_model) == "B"
