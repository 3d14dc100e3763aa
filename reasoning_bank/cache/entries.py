"""The tables of a cache on disk: entries of any number of named caches in one SQLite file."""

import hashlib
import sqlite3
from collections.abc import Collection, Iterable
from typing import Final

from reasoning_bank.cache.changes import Target

_FORMAT: Final = 3
# What is lost in a power cut can be asked again. What is deleted is overwritten: it may be private.
_SETTINGS: Final = """
    PRAGMA synchronous = OFF;
    PRAGMA secure_delete = ON;
    PRAGMA foreign_keys = ON;
"""
_TABLES: Final = (
    "DROP TABLE IF EXISTS tags",
    "DROP TABLE IF EXISTS entries",  # of another version: nothing of it is served again
    "DROP TABLE IF EXISTS totals",
    "CREATE TABLE entries (id BLOB PRIMARY KEY, cache BLOB NOT NULL, namespace BLOB NOT NULL, put_at REAL NOT NULL,"
    " expires_at REAL NOT NULL, used INTEGER NOT NULL, bytes INTEGER NOT NULL, digest BLOB NOT NULL,"
    " value BLOB NOT NULL)",
    "CREATE INDEX by_use ON entries (cache, used, bytes)",
    "CREATE INDEX by_namespace ON entries (namespace)",
    "CREATE INDEX by_expiry ON entries (expires_at)",
    # Counted as they come and go: looking at all of them with each put took longer the more there were.
    "CREATE TABLE totals (cache BLOB PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TRIGGER comes AFTER INSERT ON entries BEGIN"
    " INSERT OR IGNORE INTO totals VALUES (new.cache, 0, 0);"
    " UPDATE totals SET entries = entries + 1, bytes = bytes + new.bytes WHERE cache = new.cache; END",
    "CREATE TRIGGER goes AFTER DELETE ON entries BEGIN"
    " UPDATE totals SET entries = entries - 1, bytes = bytes - old.bytes WHERE cache = old.cache; END",
    "CREATE TABLE tags (tag BLOB NOT NULL, id BLOB NOT NULL REFERENCES entries ON DELETE CASCADE,"
    " PRIMARY KEY (tag, id)) WITHOUT ROWID",
    "CREATE INDEX by_entry ON tags (id)",
    f"PRAGMA user_version = {_FORMAT}",
)
_NEXT_USE: Final = "(SELECT coalesce(max(used), 0) + 1 FROM entries WHERE cache = ?)"
AT_ONCE: Final = 1_000
"""Entries whose time is over, or whose use is noted, with one put: more would take longer than anybody waits."""


class UnsoundError(sqlite3.DatabaseError):
    """A value that is not the one that was put there."""


class Transaction:
    """One transaction that has the file to itself from its beginning."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def set_up(connection: sqlite3.Connection) -> None:
    """Choose how the file is written."""
    connection.executescript(_SETTINGS)


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables, unless they are there; in a transaction."""
    if connection.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
        for statement in _TABLES:
            connection.execute(statement)


class Entries:
    """The entries of one named cache; no key, no tag and no namespace is in the file, only their digests.

    Args:
        name: of the cache: those of other names in the same file have their own entries and bounds.
        max_entries: entries kept at most.
        max_bytes: bytes of all values together at most.
    """

    def __init__(self, name: str, *, max_entries: int, max_bytes: int) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self._name = name
        self._cache = _digest(name)

    def held(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Entries, and bytes of their values."""
        held = connection.execute("SELECT entries, bytes FROM totals WHERE cache = ?", (self._cache,)).fetchone()
        return held or (0, 0)

    def look(self, connection: sqlite3.Connection, id_: bytes, now: float) -> tuple[bytes, float] | bool:
        """A value and the seconds it has left; False: there is none; True: its time is over."""
        statement = "SELECT put_at, expires_at, digest, value FROM entries WHERE id = ?"
        row = connection.execute(statement, (id_,)).fetchone()
        if row is None:
            return False
        put_at, expires_at, digest, value = row
        if not put_at <= now < expires_at:  # put later than now: by a clock that was wrong
            return True
        if digest != _digest(id_, value):
            raise UnsoundError("a value does not belong to its key")
        return value, expires_at - now

    def used(self, connection: sqlite3.Connection, ids: Iterable[bytes]) -> None:
        """Note that entries were used, the latest last."""
        statement = f"UPDATE entries SET used = {_NEXT_USE} WHERE id = ?"  # noqa: S608
        connection.executemany(statement, [(self._cache, id_) for id_ in ids])

    def put(
        self,
        connection: sqlite3.Connection,
        target: Target,
        value: bytes,
        *,
        now: float,
        ttl_s: float,
        tags: Collection[str],
    ) -> int:
        """Keep a value; how many others went for it."""
        self.delete(connection, target)
        evicted = self._evict(connection, len(value))
        id_, space = self.id(target.namespace, target.key), self.id(target.namespace)
        connection.execute(
            f"INSERT INTO entries VALUES (?, ?, ?, ?, ?, {_NEXT_USE}, ?, ?, ?)",  # noqa: S608
            (id_, self._cache, space, now, now + ttl_s, self._cache, len(value), _digest(id_, value), value),
        )
        tagged = [(self.id(target.namespace, tag), id_) for tag in tags]
        connection.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", tagged)
        return evicted

    def expire(self, connection: sqlite3.Connection, now: float) -> int:
        """Delete entries whose time is over; how many."""
        over = "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires_at <= ? LIMIT ?)"
        return connection.execute(over, (now, AT_ONCE)).rowcount

    def delete(self, connection: sqlite3.Connection, target: Target) -> None:
        """Delete one entry, those of a namespace, or all."""
        if target.namespace is None:
            connection.execute("DELETE FROM entries WHERE cache = ?", (self._cache,))
        elif target.key is None:
            connection.execute("DELETE FROM entries WHERE namespace = ?", (self.id(target.namespace),))
        else:
            connection.execute("DELETE FROM entries WHERE id = ?", (self.id(target.namespace, target.key),))

    def delete_tag(self, connection: sqlite3.Connection, namespace: str, tag: str) -> None:
        """Delete the entries of a namespace that were put with a tag."""
        tagged = "DELETE FROM entries WHERE id IN (SELECT id FROM tags WHERE tag = ?)"
        connection.execute(tagged, (self.id(namespace, tag),))

    def id(self, *parts: str | None) -> bytes:
        """What a namespace, with a key or a tag in it, is in the file."""
        return _digest(self._name, *(part or "" for part in parts))

    def _evict(self, connection: sqlite3.Connection, size: int) -> int:
        """Make room for a value of so many bytes; how many entries went."""
        entries, held = self.held(connection)
        gone: list[tuple[int]] = []
        oldest = "SELECT rowid, bytes FROM entries WHERE cache = ? ORDER BY used"
        for rowid, freed in connection.execute(oldest, (self._cache,)):
            if entries < self.max_entries and held + size <= self.max_bytes:
                break
            gone.append((rowid,))
            entries, held = entries - 1, held - freed
        connection.executemany("DELETE FROM entries WHERE rowid = ?", gone)
        return len(gone)


def _digest(*parts: str | bytes) -> bytes:
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        each = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        hashed.update(len(each).to_bytes(8) + each)
    return hashed.digest()
