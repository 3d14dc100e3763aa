"""Traces come back whole, and a key makes storing one twice the same as once."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from reasoning_bank.storage import Database, traces, workspaces

from .samples import moment, trace


def put(database: Database, *names: str, workspace: str = "w") -> None:
    def work(conn: Connection) -> None:
        workspaces.ensure(conn, workspace, moment())
        traces.insert(conn, *(trace(name, workspace) for name in names))

    database.write_now(work)


def test_a_trace_comes_back_with_its_complete_trajectory(database: Database) -> None:
    put(database, "t1", "t2")
    found = database.read_now(lambda conn: traces.by_ids(conn, "w", ["t2", "t1", "no"]))
    assert found == {"t1": trace("t1"), "t2": trace("t2")}


def test_a_trajectory_of_four_megabytes_comes_back(database: Database) -> None:
    long = replace(trace("t1"), report=replace(trace("t1").report, trajectory=["ß" * 1000] * 2000))
    put(database, "t0")
    database.write_now(lambda conn: traces.insert(conn, long))
    assert database.read_now(lambda conn: traces.by_id(conn, "w", "t1")) == long


def test_a_trace_of_another_workspace_is_not_found(database: Database) -> None:
    put(database, "t1")
    assert database.read_now(lambda conn: traces.by_id(conn, "x", "t1")) is None
    assert database.read_now(lambda conn: traces.existing_ids(conn, "x", ["t1"])) == set()
    assert database.read_now(lambda conn: traces.list_page(conn, "x")) == []


def test_a_trace_of_an_unknown_workspace_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError):
        database.write_now(lambda conn: traces.insert(conn, trace()))


def test_pages_follow_the_order_of_storing(database: Database) -> None:
    put(database, "z", "a", "m")
    first = database.read_now(lambda conn: traces.list_page(conn, "w", limit=2))
    rest = database.read_now(lambda conn: traces.list_page(conn, "w", after=first[-1].seq, limit=2))
    assert [row.trace.id for row in first + rest] == ["z", "a", "m"]


def test_a_key_is_taken_once_and_keeps_its_answer(database: Database) -> None:
    def takes(key: str, body: str, trace_id: str, workspace: str = "w") -> bool:
        return database.write_now(lambda conn: traces.claim_key(conn, workspace, key, body, trace_id, now=moment(3)))

    assert [takes("k", "b1", "t1"), takes("k", "b2", "t2"), takes("k", "b1", "t3", "other")] == [True, False, True]

    def found() -> traces.StoredKey | None:
        return database.read_now(lambda conn: traces.find_key(conn, "w", "k"))

    assert found() == traces.StoredKey("t1", "b1", None, moment(3))
    database.write_now(lambda conn: traces.put_answer(conn, "w", "k", {"ids": ["ü"]}))
    assert found() == traces.StoredKey("t1", "b1", {"ids": ["ü"]}, moment(3))
    database.write_now(lambda conn: traces.put_answer(conn, "w", "k", {}, body_hash="b9"))
    assert found() == traces.StoredKey("t1", "b9", {}, moment(3))
    assert database.read_now(lambda conn: traces.find_key(conn, "w", "no")) is None
    other = database.read_now(lambda conn: traces.find_key(conn, "other", "k"))
    assert other == traces.StoredKey("t3", "b1", None, moment(3))
