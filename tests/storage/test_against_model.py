"""Any order of calls leaves the bank in the state of a plain dict, and the log tells a follower all of it."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from sqlalchemy import Connection

from reasoning_bank.records import Memory, Verdict
from reasoning_bank.storage import Database, changes, embeddings, feedback, integrity, memories
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash

from .samples import memory, moment, store

WORKSPACES: tuple[str, ...] = ("w", "x")
TAGS = st.lists(st.sampled_from(["Python", "db", "Ünï", "a%"]), max_size=3, unique=True).map(tuple)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
Key = tuple[str, str]


class Bank(RuleBasedStateMachine):
    """Two connections to one bank (as two processes have them), beside a dict of what it should hold."""

    keys = Bundle("keys")

    @initialize()
    def open(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.model: dict[Key, Memory] = {}
        self.embedded: set[Key] = set()
        self.tick = 0
        self.followed: dict[Key, tuple[Memory, bool]] = {}
        self.seen = dict.fromkeys(WORKSPACES, 0)
        self.first, self.second = self._opened(), self._opened()

    def teardown(self) -> None:
        if hasattr(self, "first"):
            self.first.close()
            self.second.close()
            assert integrity.check(self.directory / "bank.db").sound
            shutil.rmtree(self.directory)

    def _opened(self) -> Database:
        database = Database(self.directory / "bank.db", durability="process", now=moment)
        database.open()
        return database

    def _next_moment(self) -> int:
        self.tick += 1
        return self.tick

    @rule(target=keys, workspace=st.sampled_from(WORKSPACES), text=TEXTS, tags=TAGS, count=st.integers(1, 3))
    def store_some(self, workspace: str, text: str, tags: tuple[str, ...], count: int) -> object:
        number = len(self.model)
        new = [memory(f"m{number + place}", workspace, text=text, tags=tags) for place in range(count)]
        self.first.write_now(lambda conn: store(conn, *new))
        self.model |= {(workspace, one.id): one for one in new}
        return multiple(*((workspace, one.id) for one in new))

    @rule(key=keys, text=TEXTS, tags=TAGS)
    def edit(self, key: Key, text: str, tags: tuple[str, ...]) -> None:
        old = self.model[key]
        its = replace(old.item, text=text, tags=tags)
        new = replace(old, item=its, updated_at=moment(self._next_moment()), content_hash=content_hash(its))
        self.second.write_now(lambda conn: memories.update(conn, new, analyse(its)))
        self.model[key] = new
        if new.content_hash != old.content_hash:
            self.embedded.discard(key)

    @rule(key=keys)
    def forget(self, key: Key) -> None:
        at, old = moment(self._next_moment()), self.model[key]
        done = self.first.write_now(lambda conn: memories.soft_delete(conn, key[0], [key[1]], at))
        assert done == ([key[1]] if old.deleted_at is None else [])
        if done:
            self.model[key] = replace(old, deleted_at=at, updated_at=at)

    @rule(key=keys)
    def restore(self, key: Key) -> None:
        at, old = moment(self._next_moment()), self.model[key]
        done = self.second.write_now(lambda conn: memories.undelete(conn, key[0], [key[1]], at))
        assert done == ([key[1]] if old.deleted_at is not None else [])
        if done:
            self.model[key] = replace(old, deleted_at=None, updated_at=at)

    @rule(key=keys)
    def supersede(self, key: Key) -> None:
        at, old = moment(self._next_moment()), self.model[key]
        done = self.first.write_now(lambda conn: memories.supersede(conn, key[0], [key[1]], "successor", at))
        assert done == ([key[1]] if old.superseded_by is None else [])
        if done:
            ends = replace(old.item, valid_to=min(old.item.valid_to or at, at))
            self.model[key] = replace(old, item=ends, superseded_by="successor", updated_at=at)

    @rule(key=keys, verdict=st.sampled_from(["helped", "misled", "ignored"]))
    def rate(self, key: Key, verdict: Verdict) -> None:
        old = self.model[key]
        if old.deleted_at is None:
            done = self.second.write_now(lambda conn: feedback.add(conn, key[0], [key[1]], verdict, now=moment()))
            counters = replace(old.counters, **{verdict: getattr(old.counters, verdict) + 1})
            assert done == {key[1]: counters}
            self.model[key] = replace(old, counters=counters)

    @rule(key=keys)
    def use(self, key: Key) -> None:
        self.first.write_now(lambda conn: memories.add_used(conn, key[0], [key[1]]))
        old = self.model[key]
        self.model[key] = replace(old, counters=replace(old.counters, used=old.counters.used + 1))

    @rule(key=keys, late=st.booleans())
    def embed(self, key: Key, late: bool) -> None:
        read = "older words" if late else self.model[key].content_hash
        row = embeddings.EmbeddingRow(key[1], key[0], "text", 0, "A", 2, "fp32", read, 1.0, b"12345678", read)

        def put(conn: Connection) -> None:
            embeddings.register_model(conn, "A", {}, moment())
            assert embeddings.put(conn, [row]) == (set() if late else {key})

        self.second.write_now(put)
        if not late:
            self.embedded.add(key)

    @rule(key=keys)
    def a_failed_write_changes_nothing(self, key: Key) -> None:
        def fails(conn: Connection) -> None:
            memories.soft_delete(conn, key[0], [key[1]], moment(99))
            memories.add_used(conn, key[0], [key[1]])
            raise KeyError(key)

        try:
            self.first.write_now(fails)
        except KeyError:
            return
        raise AssertionError("the error was swallowed")

    @rule()
    def reopen(self) -> None:
        self.first.close()
        self.first = self._opened()

    @invariant()
    def both_sides_hold_what_the_model_holds(self) -> None:
        for workspace in WORKSPACES:
            expected = {id_: one for (where, id_), one in self.model.items() if where == workspace}
            assert self._read(self.first, workspace) == expected
            assert self._read(self.second, workspace) == expected

    @invariant()
    def indexes_are_built_from_the_live_ones(self) -> None:
        for workspace in WORKSPACES:
            live = {
                id_: one
                for (where, id_), one in self.model.items()
                if where == workspace and one.deleted_at is None and one.superseded_by is None
            }
            self._check_index(workspace, live)

    @invariant()
    def a_follower_of_the_log_knows_everything_but_uses(self) -> None:
        for workspace in WORKSPACES:
            self._follow(workspace)
        followed = {key: (_unused(one), is_embedded) for key, (one, is_embedded) in self.followed.items()}
        assert followed == {key: (_unused(one), key in self.embedded) for key, one in self.model.items()}

    def _read(self, database: Database, workspace: str) -> dict[str, Memory]:
        # All ids, those of the other workspace too: they must not be found.
        ids = [id_ for _, id_ in self.model]
        return database.read_now(lambda conn: memories.by_ids(conn, workspace, ids))

    def _check_index(self, workspace: str, live: dict[str, Memory]) -> None:
        def check(conn: Connection) -> None:
            terms = {row.id: row.terms for row in memories.load_for_index(conn, workspace)}
            assert terms == {id_: analyse(one.item).packed() for id_, one in live.items()}
            for tag in ("python", "ünï"):
                tagged = {id_ for id_, one in live.items() if tag in map(str.casefold, one.item.tags)}
                assert set(memories.scoped_ids(conn, workspace, now=moment(), tags=(tag,)) or ()) == tagged
            pending = {id_ for _, id_ in embeddings.missing(conn, "A", workspace)}
            assert pending == {id_ for id_ in live if (workspace, id_) not in self.embedded}
            assert {row.id for row in embeddings.load(conn, workspace, "A")} == set(live) - pending

        self.second.read_now(check)

    def _follow(self, workspace: str) -> None:
        def read(conn: Connection) -> None:
            news = changes.since(conn, workspace, self.seen[workspace])
            found = memories.by_ids(conn, workspace, [change.memory_id for change in news])
            vectors = {row.id for row in embeddings.load(conn, workspace, "A", list(found))}
            self.followed |= {(workspace, id_): (one, id_ in vectors) for id_, one in found.items()}
            self.seen[workspace] = news[-1].seq if news else self.seen[workspace]

        self.second.read_now(read)


TestBank = Bank.TestCase
TestBank.settings = settings(
    max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def _unused(memory: Memory) -> Memory:
    """Uses decide about no answer, and are in no log."""
    return replace(memory, counters=replace(memory.counters, used=0))
