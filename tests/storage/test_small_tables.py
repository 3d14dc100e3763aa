"""Feedback, tokens, index states, workspaces, named values."""

import pytest
from sqlalchemy import Connection, select

from reasoning_bank.errors import NotFoundError
from reasoning_bank.records import Counters
from reasoning_bank.storage import Database, changes, facts, feedback, index_state, memories, schema, tokens, workspaces
from reasoning_bank.storage.index_state import IndexState
from reasoning_bank.storage.workspaces import Counts

from .samples import memory, moment, stored


def said(database: Database, id_: str) -> list[tuple[str, str, str]]:
    """(verdict, note, actor) of a memory, in the order they were said."""
    table = schema.feedback
    statement = select(table.c.verdict, table.c.note, table.c.actor).where(table.c.memory_id == id_)
    return database.read_now(lambda conn: [(*row,) for row in conn.execute(statement.order_by(table.c.seq))])


def test_verdicts_are_counted_kept_and_noted(database: Database) -> None:
    stored(database, memory("m1"), memory("m2"))

    def rate(verdict: str, *ids: str) -> dict[str, Counters]:
        return database.write_now(
            lambda conn: feedback.add(conn, "w", ids, verdict, now=moment(2), note="why", actor="agent")  # pyright: ignore[reportArgumentType]
        )

    assert rate("helped", "m2", "m1", "m2") == {"m2": Counters(1, 3, 3, 4), "m1": Counters(1, 3, 3, 4)}
    assert rate("misled", "m1") == {"m1": Counters(1, 3, 4, 4)}
    assert rate("ignored", "m1") == {"m1": Counters(1, 3, 4, 5)}
    assert said(database, "m1") == [(verdict, "why", "agent") for verdict in ("helped", "misled", "ignored")]
    assert database.read_now(lambda conn: changes.since(conn, "w", 2))[-1].op == "counters"


def test_a_verdict_on_an_unknown_memory_counts_nothing(database: Database) -> None:
    stored(database, memory("m1"), memory("m2"), memory("theirs", "x"))
    database.write_now(lambda conn: memories.soft_delete(conn, "w", ["m2"], moment()))
    with pytest.raises(NotFoundError, match="'no', 'm2', 'theirs'"):
        database.write_now(lambda conn: feedback.add(conn, "w", ["m1", "no", "m2", "theirs"], "helped", now=moment()))
    found = database.read_now(lambda conn: memories.by_ids(conn, "w", ["m1"]))
    assert found["m1"].counters == memory().counters
    assert said(database, "m1") == []


def test_a_token_opens_its_workspace_until_it_expires_or_is_revoked(database: Database) -> None:
    def make(secret: str, expires: float | None = None) -> tokens.Token:
        return database.write_now(
            lambda conn: tokens.create(
                conn,
                secret,
                name="laptop",
                workspace="w",
                scopes=["read", "write"],
                now=moment(),
                expires_at=None if expires is None else moment(expires),
            )
        )

    def verify(secret: str, at: float = 0) -> tokens.Token | None:
        return database.read_now(lambda conn: tokens.verify(conn, secret, moment(at)))

    lasting, short = make("secret-1"), make("secret-2", 10)
    assert verify("secret-1") == lasting
    assert (verify("secret-2", 9.9), verify("secret-2", 10)) == (short, None)
    assert verify("secret-3") is verify("") is verify("\ud800") is None
    assert database.write_now(lambda conn: tokens.revoke(conn, lasting.id, moment(1)))
    assert not database.write_now(lambda conn: tokens.revoke(conn, lasting.id, moment(2)))
    assert verify("secret-1") is None
    assert [one.name for one in database.read_now(lambda conn: tokens.listing(conn, "w"))] == ["laptop", "laptop"]
    assert database.read_now(lambda conn: tokens.listing(conn, "x")) == []


def test_a_secret_is_nowhere_in_the_file(database: Database) -> None:
    database.write_now(
        lambda conn: tokens.create(conn, "canary-7f3a", name="n", workspace="w", scopes=[], now=moment())
    )
    files = b"".join(file.read_bytes() for file in database.path.parent.iterdir())
    assert b"canary-7f3a" not in files


def test_an_index_state_is_replaced_as_a_whole_and_can_be_forgotten(database: Database) -> None:
    state = IndexState("w", "chroma", 1, "A", 384, 17, 3, "digest", "ready", moment())
    swapped = IndexState("w", "chroma", 2, "B", 768, 18, 4, "other", "building", moment(1))
    database.write_now(lambda conn: index_state.put(conn, state))
    assert database.read_now(lambda conn: index_state.get(conn, "w", "chroma")) == state
    database.write_now(lambda conn: index_state.put(conn, swapped))
    assert database.read_now(index_state.listing) == [swapped]
    assert database.read_now(lambda conn: index_state.listing(conn, "x")) == []
    assert database.write_now(lambda conn: index_state.forget(conn, "chroma", "x")) == 0
    assert database.write_now(lambda conn: index_state.forget(conn, "chroma")) == 1
    assert database.read_now(lambda conn: index_state.get(conn, "w", "chroma")) is None


def test_workspaces_are_made_once_and_count_what_they_hold(database: Database) -> None:
    stored(database, memory("m1"), memory("m2"), memory("m3"), memory("m4", "x", tags=("Solo",)))
    database.write_now(lambda conn: memories.soft_delete(conn, "w", ["m1"], moment()))
    database.write_now(lambda conn: memories.supersede(conn, "w", ["m2"], "m3", moment()))
    database.write_now(lambda conn: workspaces.ensure(conn, "w", moment(99)))

    def asks(connection: Connection) -> None:
        assert [one.name for one in workspaces.listing(connection)] == ["w", "x"]
        assert workspaces.find(connection, "w") == workspaces.Workspace("w", None, moment())
        assert workspaces.find(connection, "no") is None
        assert workspaces.counts(connection, "w") == Counts(1, 1, 1, 1, 0, 2)
        assert workspaces.counts(connection, None, model_id="A") == Counts(2, 2, 1, 1, 0, 3)
        assert workspaces.counts(connection, "no") == Counts(0, 0, 0, 0, 0, 0)

    database.read_now(asks)


def test_the_privacy_mode_belongs_to_the_workspace(database: Database) -> None:
    stored(database, memory("m1"))
    database.write_now(lambda conn: workspaces.set_privacy_mode(conn, "w", "block"))
    assert database.read_now(lambda conn: workspaces.find(conn, "w")) == workspaces.Workspace("w", "block", moment())


def test_completions_begin_with_the_prefix_and_stay_in_the_workspace(database: Database) -> None:
    stored(database, memory("m1", tags=("Über", "100%", "1000"), domain="Web"), memory("m2", domain="Weather"))
    stored(database, memory("mx", "x", tags=("über-x",), domain="Wx", trace_id="t9"))

    def asks(connection: Connection) -> None:
        assert workspaces.tags_starting(connection, "w", "Ü") == ["über"]
        assert workspaces.tags_starting(connection, "w", "100%") == ["100%"]
        assert workspaces.tags_starting(connection, "w", "", 2) == ["100%", "1000"]
        assert workspaces.domains_starting(connection, "w", "We") == ["Weather", "Web"]
        assert workspaces.memory_ids_starting(connection, "w", "m") == ["m1", "m2"]
        assert workspaces.trace_ids_starting(connection, "x", "t") == ["t9"]
        assert workspaces.names_starting(connection, "") == ["w", "x"]
        assert workspaces.names_starting(connection, "%") == []

    database.read_now(asks)


def test_the_first_to_name_a_value_decides_it(database: Database) -> None:
    assert database.write_now(lambda conn: facts.put_once(conn, "salt", "one")) == "one"
    assert database.write_now(lambda conn: facts.put_once(conn, "salt", "two")) == "one"
    database.write_now(lambda conn: facts.put(conn, "salt", "three"))
    assert database.read_now(lambda conn: facts.get(conn, "salt")) == "three"
    assert database.read_now(lambda conn: facts.get(conn, "none")) is None
