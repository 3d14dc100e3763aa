"""Memories: stored whole, changed with a note in the log, filtered in SQL, never across workspaces."""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest
from sqlalchemy import Connection, event, func, select, update
from sqlalchemy.exc import IntegrityError

from reasoning_bank.errors import InputError, NotFoundError
from reasoning_bank.records import Counters, Genealogy
from reasoning_bank.storage import Database, changes, embeddings, feedback, lineage, memories, renewal, schema
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash

from .samples import item, memory, moment, stored


def log(database: Database, workspace: str = "w", since: int = 0) -> list[tuple[str, str]]:
    found = database.read_now(lambda conn: changes.since(conn, workspace, since))
    return [(change.memory_id, change.op) for change in found]


def test_a_memory_comes_back_as_it_was_stored(database: Database) -> None:
    full = memory("m1", parents=("a", "b"), valid_from=moment(-10), valid_to=moment(10))
    bare = replace(memory("m2"), item=replace(item("m2"), tags=(), error_context=None, metadata={}, external_id=None))
    gone = replace(memory("m3"), superseded_by="m1", deleted_at=moment(5))
    order = replace(memory("m4"), item=replace(item("m4"), time=17, position=None, session=None, domain=None))
    stored(database, full, bare, gone, order)
    found = database.read_now(lambda conn: memories.by_ids(conn, "w", ["m4", "m1", "m2", "m3", "no"]))
    assert found == {"m1": full, "m2": bare, "m3": gone, "m4": order}


def test_texts_of_every_script_and_size_come_back(database: Database) -> None:
    text = '日本語 שלום 😀 \u202e " OR 1=1 -- NEAR( * %_ \x01 ' + "long " * 13_000
    stored(database, memory("m1", text=text, content=text, tags=(text[:90],), metadata={text[:40]: text}))
    found = database.read_now(lambda conn: memories.by_ids(conn, "w", ["m1"]))
    assert found["m1"].item == item("m1", text=text, content=text, tags=(text[:90],), metadata={text[:40]: text})


def test_another_workspace_has_no_such_memory(database: Database) -> None:
    stored(database, memory("m1", "mine"), memory("m1", "yours", text="secret"), memory("m2", "yours"))

    def asks(conn: Connection) -> None:
        assert memories.by_ids(conn, "mine", ["m1", "m2"]) == {"m1": memory("m1", "mine")}
        assert memories.existing_ids(conn, "mine", ["m1", "m2"]) == {"m1"}
        assert lineage.genealogy(conn, "mine", "m2") is None
        assert [row.id for row in memories.load_for_index(conn, "mine", ["m1", "m2"])] == ["m1"]
        assert [row.memory.id for row in memories.list_page(conn, "mine")] == ["m1"]
        assert memories.scoped_ids(conn, "mine", now=moment(), domain="web") == ["m1"]

    database.read_now(asks)

    def changes_nothing(conn: Connection) -> None:
        assert memories.soft_delete(conn, "mine", ["m2"], moment()) == []
        assert memories.add_used(conn, "mine", ["m2"]) == []
        with pytest.raises(NotFoundError):
            memories.update(conn, memory("m2", "mine"), analyse(item()))

    database.write_now(changes_nothing)
    found = database.read_now(lambda conn: memories.by_ids(conn, "yours", ["m1", "m2"]))
    assert found["m2"] == memory("m2", "yours")


def test_an_id_that_is_there_already_is_refused_and_nothing_is_stored(database: Database) -> None:
    stored(database, memory("m1"))
    with pytest.raises(IntegrityError):
        stored(database, memory("m2"), memory("m1"))
    assert database.read_now(lambda conn: memories.existing_ids(conn, "w", ["m1", "m2"])) == {"m1"}


def test_a_memory_without_its_trace_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError):
        database.write_now(lambda conn: memories.insert(conn, [memory()], [analyse(item())]))


def test_memories_of_two_workspaces_are_not_stored_together(database: Database) -> None:
    mixed = [memory("m1", "a"), memory("m2", "b")]
    with pytest.raises(ValueError, match="one workspace"):
        database.write_now(lambda conn: memories.insert(conn, mixed, [analyse(item())] * 2))


def test_a_position_beyond_64_bits_is_the_callers_mistake(database: Database) -> None:
    with pytest.raises(InputError, match="position"):
        stored(database, memory("m1", position=2**63))


def test_every_change_is_noted_once_per_memory_and_kind(database: Database) -> None:
    stored(database, memory("m1"), memory("m2"))
    assert log(database) == [("m1", "insert"), ("m2", "insert")]
    seen = database.read_now(lambda conn: changes.last_seq(conn, "w"))
    for _ in range(3):
        database.write_now(lambda conn: feedback.add(conn, "w", ["m2", "m1"], "helped", now=moment()))
        database.write_now(lambda conn: memories.add_used(conn, "w", ["m1"]))  # of which no index need know
    database.write_now(lambda conn: memories.soft_delete(conn, "w", ["m1"], moment()))
    assert log(database, since=seen) == [("m2", "counters"), ("m1", "counters"), ("m1", "delete")]
    assert log(database) == [
        ("m1", "insert"),
        ("m2", "insert"),
        ("m2", "counters"),
        ("m1", "counters"),
        ("m1", "delete"),
    ]
    assert log(database, "other") == []


def test_forgetting_can_be_taken_back_and_neither_is_done_twice(database: Database) -> None:
    stored(database, memory("m1"), memory("m2"))

    def forget(at: float) -> list[str]:
        return database.write_now(lambda conn: memories.soft_delete(conn, "w", ["m1", "m1", "no"], moment(at)))

    def restore() -> list[str]:
        return database.write_now(lambda conn: memories.undelete(conn, "w", ["m1", "m2"], moment(9)))

    assert (forget(5), forget(6), restore(), restore()) == (["m1"], [], ["m1"], [])
    found = database.read_now(lambda conn: memories.by_ids(conn, "w", ["m1", "m2"]))
    assert found == {"m1": replace(memory("m1"), updated_at=moment(9)), "m2": memory("m2")}


def test_an_edit_replaces_words_tags_and_terms_and_drops_the_old_vectors(database: Database) -> None:
    old = memory("m1", parents=("p1",))
    stored(database, old)
    give_vector(database, "m1", old.content_hash)
    its = item("m1", text="entirely new words", tags=("Flask",), parents=("p2",), position=None)
    new = replace(old, item=its, updated_at=moment(7), content_hash=content_hash(its))
    database.write_now(lambda conn: memories.update(conn, new, analyse(its)))

    def asks(conn: Connection) -> None:
        assert memories.by_ids(conn, "w", ["m1"]) == {"m1": new}
        assert memories.scoped_ids(conn, "w", now=moment(), tags=("flask",)) == ["m1"]
        assert memories.scoped_ids(conn, "w", now=moment(), tags=("django",)) == []
        (row,) = memories.load_for_index(conn, "w")
        assert row.terms == analyse(its).packed()
        assert embeddings.missing(conn, "model") == [("w", "m1")]

    database.read_now(asks)


def test_an_edit_of_what_is_not_embedded_keeps_the_vectors(database: Database) -> None:
    old = memory("m1")
    stored(database, old)
    give_vector(database, "m1", old.content_hash)
    new = replace(old, item=replace(old.item, trust="trusted", tags=()))
    database.write_now(lambda conn: memories.update(conn, new, analyse(new.item)))
    assert database.read_now(lambda conn: embeddings.missing(conn, "model")) == []


def give_vector(database: Database, id_: str, memory_hash: str) -> None:
    def put(conn: Connection) -> None:
        embeddings.register_model(conn, "model", {}, moment())
        row = embeddings.EmbeddingRow(id_, "w", "text", 0, "model", 2, "fp32", "h", 1.0, b"12345678", memory_hash)
        assert embeddings.put(conn, [row]) == {("w", id_)}

    database.write_now(put)


def test_counters_add_up_under_the_ids_that_are_there(database: Database) -> None:
    stored(database, memory("m1"))
    assert database.write_now(lambda conn: memories.add_used(conn, "w", ["m1", "no"])) == ["m1"]
    found = database.read_now(lambda conn: memories.by_ids(conn, "w", ["m1"]))
    assert found["m1"].counters == Counters(2, 2, 3, 4)


def test_genealogy_names_parents_children_and_successors(database: Database) -> None:
    stored(database, memory("a"), memory("b", parents=("a",)), memory("c", parents=("a", "b")), memory("d"))
    database.write_now(lambda conn: memories.supersede(conn, "w", ["a", "d"], "c", moment(3)))
    assert database.write_now(lambda conn: memories.supersede(conn, "w", ["a"], "b", moment(4))) == []

    def family(id_: str) -> Genealogy | None:
        return database.read_now(lambda conn: lineage.genealogy(conn, "w", id_))

    assert family("a") == Genealogy("a", "t", (), ("b", "c"), (), "c", sources=("t",))
    assert family("c") == Genealogy("c", "t", ("a", "b"), (), ("a", "d"), None, ("t",), ("a", "b"), stage=2)
    assert family("no") is None


def test_pages_follow_the_order_of_storing(database: Database) -> None:
    stored(database, *(memory(f"m{place}") for place in range(5)), memory("other", "x"))
    database.write_now(lambda conn: memories.soft_delete(conn, "w", ["m3"], moment()))
    ids: list[str] = []
    after = 0

    def page_after(seq: int) -> list[memories.Numbered]:
        return database.read_now(lambda conn: memories.list_page(conn, "w", after=seq, limit=2))

    while page := page_after(after):
        ids += [row.memory.id for row in page]
        after = page[-1].seq
    assert ids == ["m0", "m1", "m2", "m3", "m4"]
    live = database.read_now(lambda conn: memories.list_page(conn, "w", live_only=True))
    assert [row.memory.id for row in live] == ["m0", "m1", "m2", "m4"]


def test_duplicates_are_found_by_what_they_are(database: Database) -> None:
    twin = replace(memory("m2"), content_hash=memory("m1").content_hash)
    stored(database, memory("m1"), twin)
    hashes = [memory("m1").content_hash, "no"]
    assert database.read_now(lambda conn: memories.by_content_hash(conn, "w", hashes)) == {hashes[0]: "m1"}
    database.write_now(lambda conn: memories.soft_delete(conn, "w", ["m1"], moment()))
    assert database.read_now(lambda conn: memories.by_content_hash(conn, "w", hashes)) == {hashes[0]: "m2"}


def test_memories_of_a_trace_come_in_order(database: Database) -> None:
    stored(database, memory("z"), memory("a"), memory("other", trace_id="t2"))
    found = database.read_now(lambda conn: memories.of_trace(conn, "w", "t"))
    assert [one.id for one in found] == ["z", "a"]
    assert database.read_now(lambda conn: memories.ids_of_trace(conn, "w", "t")) == ["z", "a"]


def test_index_rows_tell_liveness_time_and_terms(database: Database) -> None:
    undated = replace(item("m2"), time="order 7")
    stored(database, memory("m1"), replace(memory("m2"), item=undated), memory("m3"))
    database.write_now(lambda conn: memories.soft_delete(conn, "w", ["m3"], moment()))
    rows = database.read_now(lambda conn: list(memories.load_for_index(conn, "w")))
    assert [(row.id, row.live) for row in rows] == [("m1", True), ("m2", True)]
    assert rows[0].occurred_at == datetime(2025, 5, 7, 12, tzinfo=UTC).timestamp()
    assert rows[1].occurred_at == moment().timestamp(), "an order number is no date: when it was stored"
    assert rows[0].terms == analyse(item("m1")).packed()
    named = database.read_now(lambda conn: list(memories.load_for_index(conn, "w", ["m3", "no", "m1"])))
    assert {row.id: row.live for row in named} == {"m1": True, "m3": False}


def test_what_is_quarantined_is_no_candidate_of_any_search(database: Database) -> None:
    suspect = memory("m2")
    stored(database, memory("m1"), replace(suspect, item=replace(suspect.item, trust="quarantined")))
    assert database.read_now(lambda conn: [row.id for row in memories.load_for_index(conn, "w")]) == ["m1"]
    named = database.read_now(lambda conn: list(memories.load_for_index(conn, "w", ["m1", "m2"])))
    assert {row.id: row.live for row in named} == {"m1": True, "m2": False}
    assert scope(database, outcome="any", include_failures=False) == {"m1"}


def test_terms_of_an_older_analyser_are_found_and_made_anew(database: Database) -> None:
    stored(database, memory("m1"), memory("m2"), memory("mx", "x"), memory("m4"))
    fresh = {id_: analyse(item(id_)).packed() for id_ in ("m1", "m2", "m4")}

    def outdated(after: int = 0, limit: int = 10) -> list[int]:
        return database.read_now(lambda conn: renewal.outdated_terms(conn, after=after, limit=limit))

    assert outdated() == []
    table = schema.memory_terms
    database.write_now(lambda conn: conn.execute(update(table).values(analyser_version=0, terms=b"old")))
    noted = log(database)
    every = outdated()
    assert (len(every), outdated(limit=2), outdated(after=every[1])) == (4, every[:2], every[2:])
    newer = (table.c.memory == every[-1], {"analyser_version": 10**6, "terms": b"new"})
    database.write_now(lambda conn: conn.execute(update(table).where(newer[0]).values(newer[1])))
    database.write_now(lambda conn: renewal.renew_terms(conn, every))
    rows = database.read_now(lambda conn: list(memories.load_for_index(conn, "w")))
    assert {row.id: row.terms for row in rows} == fresh | {"m4": b"new"}
    assert outdated() == []
    assert log(database) == noted


def scope(database: Database, **filters: object) -> set[str] | None:
    found = database.read_now(lambda conn: memories.scoped_ids(conn, "w", now=moment(), **filters))  # pyright: ignore[reportArgumentType]
    return None if found is None else set(found)


def test_filters_narrow_together_and_nothing_is_filtered_without_them(database: Database) -> None:
    stored(
        database,
        memory("a", tags=("Python", "db"), domain="Web", outcome="success"),
        memory("b", tags=("python",), domain="web", outcome="failure", time="2025-06-01"),
        memory("c", tags=(), domain=None, outcome="partial", time=None),
    )
    assert scope(database) is None
    assert scope(database, tags=("PYTHON",)) == {"a", "b"}
    assert scope(database, tags=("python", "DB")) == {"a"}
    assert scope(database, domain="WEB") == {"a", "b"}
    assert scope(database, domain="W") == set()
    assert scope(database, outcome="success") == {"a"}
    assert scope(database, outcome="failure") == {"b"}
    assert scope(database, outcome="failure", include_failures=False) == {"b"}, "asked for by name"
    assert scope(database, include_failures=False) == {"a", "c"}
    assert scope(database, since=datetime(2025, 6, 1, tzinfo=UTC)) == {"b", "c"}
    assert scope(database, until=datetime(2025, 6, 1, tzinfo=UTC)) == {"a", "b"}
    assert scope(database, since=datetime(1, 1, 1, tzinfo=UTC), until=datetime(9999, 12, 31, tzinfo=UTC)) == {
        "a",
        "b",
        "c",
    }
    assert scope(database, tags=("python",), domain="web", outcome="failure") == {"b"}
    assert scope(database, tags=("%",)) == set()


def test_forgotten_superseded_and_outdated_memories_pass_no_filter(database: Database) -> None:
    stored(
        database,
        memory("live", valid_from=moment(0), valid_to=moment(1)),
        memory("forgotten"),
        memory("superseded"),
        memory("not yet", valid_from=moment(1)),
        memory("no longer", valid_to=moment(0)),
    )
    database.write_now(lambda conn: memories.soft_delete(conn, "w", ["forgotten"], moment()))
    database.write_now(lambda conn: memories.supersede(conn, "w", ["superseded"], "live", moment()))
    assert scope(database, domain="web") == {"live"}


def test_many_memories_are_handled_in_few_statements(database: Database) -> None:
    many = [memory(f"m{place:05d}") for place in range(1300)]
    stored(database, many[0])
    database.write_now(lambda conn: memories.insert(conn, many[1:], [analyse(many[0].item).packed()] * 1299))
    ids = [one.id for one in many]
    assert list(database.read_now(lambda conn: memories.by_ids(conn, "w", ids))) == ids
    assert len(database.read_now(lambda conn: list(memories.load_for_index(conn, "w", ids)))) == 1300
    assert database.write_now(lambda conn: len(memories.soft_delete(conn, "w", ids, moment()))) == 1300
    count = database.read_now(lambda conn: conn.scalar(select(func.count()).select_from(schema.changes)))
    assert count == 2600


def test_ids_are_looked_up_and_never_searched_for(database: Database) -> None:
    """Asked for an order, SQLite reads a whole workspace in it: 100 ms at 50,000 memories instead of 0.2."""
    stored(database, memory("m1"))
    plans: list[str] = []

    def explain(conn: Connection) -> None:
        raw = cast("sqlite3.Connection", conn.connection.driver_connection)

        def note(_: object, __: object, statement: str, values: tuple[object, ...], *___: object) -> None:
            plans.extend(row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", values))

        event.listen(conn, "before_cursor_execute", note)
        memories.by_ids(conn, "w", ["m1"])
        memories.existing_ids(conn, "w", ["m1"])
        memories.by_content_hash(conn, "w", ["h"])
        memories.of_trace(conn, "w", "t")
        memories.ids_of_trace(conn, "w", "t")
        lineage.genealogy(conn, "w", "m1")
        list(memories.load_for_index(conn, "w", ["m1"]))
        list(embeddings.load(conn, "w", "A", ["m1"]))
        embeddings.known(conn, "A", ["h"])

    database.read_now(explain)
    assert len(plans) >= 10
    assert [
        plan for plan in plans if plan.startswith("SCAN") or plan.endswith("ix_memories_workspace (workspace=?)")
    ] == []
