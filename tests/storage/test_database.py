"""Opening, writing and reading: who is refused, what is undone, who sees what when."""

import asyncio
import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from reasoning_bank.errors import BusyError, MigrationError, StorageError
from reasoning_bank.storage import Database, facts, memories

from .samples import memory, moment, store, stored

POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX owners and modes")
ROOT = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")


def put(name: str, value: str = "x") -> Callable[[Connection], None]:
    return lambda connection: facts.put(connection, name, value)


def value_of(database: Database, name: str) -> str | None:
    return database.read_now(lambda connection: facts.get(connection, name))


def refused(path: Path) -> StorageError:
    with pytest.raises(StorageError) as caught:
        Database(path, now=moment).open()
    return caught.value


@POSIX
def test_directory_and_files_are_private(database: Database, path: Path) -> None:
    database.write_now(put("a"))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"bank.db": 0o600, "bank.db-wal": 0o600, "bank.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@POSIX
def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    with contextlib.closing(Database(path, now=moment)) as database:
        database.open()
    path.chmod(0o644)
    with contextlib.closing(Database(path, now=moment)) as database:
        database.open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@POSIX
def test_a_directory_everyone_can_write_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)
    error = refused(path)
    assert error.code == "foreign"
    assert "chmod o-w" in str(error)


@ROOT
def test_another_users_directory_is_refused(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    os.chown(path.parent, 12345, 12345)
    error = refused(path)
    assert error.code == "foreign"
    assert "12345" in str(error)


@ROOT
def test_another_users_file_is_refused(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch()
    os.chown(path, 12345, 12345)
    assert refused(path).code == "foreign"


def test_another_programs_database_is_refused_and_untouched(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE photos (name TEXT)")
    before = path.read_bytes()
    assert refused(path).code == "foreign"
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_damaged_and_untouched(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"once upon a time" * 1000)
    error = refused(path)
    assert error.code == "damaged"
    assert "restore a backup" in str(error)
    assert path.read_bytes() == b"once upon a time" * 1000


def test_a_directory_in_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    assert refused(path).code == "foreign"


def test_a_newer_schema_is_refused_and_says_to_update(path: Path) -> None:
    with contextlib.closing(Database(path, now=moment)) as database:
        database.open()
        database.write_now(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num='9999'")))
    error = refused(path)
    assert isinstance(error, MigrationError)
    assert "update reasoning-bank" in str(error)


def test_opening_a_current_bank_loads_no_alembic(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC\n"
        "from reasoning_bank.storage import Database\n"
        "for _ in range(2):\n"
        "    d = Database(Path(sys.argv[1]), now=lambda: datetime.now(UTC)); d.open(); d.close()\n"
        "sys.exit('alembic' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0


async def test_the_async_doors_open_write_read_and_close(path: Path) -> None:
    async with Database(path, durability="process", now=moment) as database:
        await database.write(put("a", "1"))
        assert await database.read(lambda connection: facts.get(connection, "a")) == "1"
    with pytest.raises(StorageError, match="not open"):
        await database.write(put("a"))
    assert [file.name for file in path.parent.iterdir()] == ["bank.db"], "the last one out checkpoints the log"


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    def fails(connection: Connection) -> None:
        store(connection, memory("m1"))
        raise KeyError("late")

    with pytest.raises(KeyError, match="late"):
        database.write_now(fails)
    assert database.read_now(lambda connection: memories.existing_ids(connection, "w", ["m1"])) == set()


async def test_writes_that_wait_together_are_undone_one_by_one(path: Path) -> None:
    async with Database(path, durability="process", now=moment) as database:
        first_runs, may_end = threading.Event(), threading.Event()

        def holds(connection: Connection) -> str:
            first_runs.set()
            assert may_end.wait(5)
            return "first"

        def fails(connection: Connection) -> None:
            facts.put(connection, "bad", "1")
            raise KeyError("mine alone")

        first = asyncio.ensure_future(database.write(holds))
        assert await asyncio.to_thread(first_runs.wait, 5)
        group = [asyncio.ensure_future(database.write(work)) for work in (put("a"), fails, put("b"))]
        await asyncio.sleep(0)
        may_end.set()
        assert await first == "first"
        await group[0]
        with pytest.raises(KeyError, match="mine alone"):
            await group[1]
        await group[2]
        found = await database.read(lambda conn: [facts.get(conn, name) for name in ("a", "bad", "b")])
        assert found == ["x", None, "x"]


async def test_a_cancelled_caller_does_not_stop_its_write(path: Path) -> None:
    async with Database(path, durability="process", now=moment) as database:
        begun, may_end = threading.Event(), threading.Event()

        def slow(connection: Connection) -> None:
            begun.set()
            assert may_end.wait(5)
            facts.put(connection, "kept", "yes")

        caller = asyncio.ensure_future(database.write(slow))
        assert await asyncio.to_thread(begun.wait, 5)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        may_end.set()
        await database.write(put("next"))
        assert await database.read(lambda connection: facts.get(connection, "kept")) == "yes"


def test_a_reader_sees_one_moment_of_the_bank(database: Database) -> None:
    database.write_now(put("a", "old"))

    def reads_twice(connection: Connection) -> tuple[str | None, str | None]:
        first = facts.get(connection, "a")
        database.write_now(put("a", "new"))
        return first, facts.get(connection, "a")

    assert database.read_now(reads_twice) == ("old", "old")
    assert value_of(database, "a") == "new"


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StorageError) as caught:
        database.read_now(put("a"))
    assert caught.value.code == "read_only"
    database.write_now(put("a"))


def test_a_reader_that_raised_sees_the_present_next_time(database: Database) -> None:
    """A rollback that is skipped leaves the snapshot open: the connection would answer from the past for good."""

    def raises(connection: Connection) -> None:
        facts.get(connection, "a")
        raise KeyError("mine")

    for _ in range(4):
        with pytest.raises(KeyError, match="mine"):
            database.read_now(raises)
    database.write_now(put("a", "new"))
    assert value_of(database, "a") == "new"


def test_a_writer_that_raised_holds_no_lock(database: Database, path: Path) -> None:
    def raises(connection: Connection) -> None:
        facts.put(connection, "a", "lost")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        database.write_now(raises)
    with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    assert value_of(database, "a") is None


def test_more_threads_than_kept_connections_read_at_once(database: Database) -> None:
    together = threading.Barrier(8, timeout=5)

    def reads(connection: Connection) -> None:
        facts.get(connection, "a")
        together.wait()

    threads = [threading.Thread(target=database.read_now, args=(reads,)) for _ in range(7)]
    for thread in threads:
        thread.start()
    database.read_now(reads)
    for thread in threads:
        thread.join(5)
    assert not together.broken


def test_a_transaction_inside_a_transaction_is_a_mistake(database: Database) -> None:
    with pytest.raises(RuntimeError, match="its connection"):
        database.write_now(lambda _: database.write_now(put("a")))


def test_the_version_moves_with_every_commit_of_anyone(database: Database, path: Path) -> None:
    first = database.data_version()
    assert database.data_version() == first
    database.write_now(put("a"))
    second = database.data_version()
    with contextlib.closing(Database(path, durability="process", now=moment)) as other:
        other.open()
        assert database.data_version() == second, "opening and reading is no change"
        other.write_now(put("b"))
    assert len({first, second, database.data_version()}) == 3


def test_a_bank_locked_for_too_long_says_so_and_goes_on_after(path: Path) -> None:
    database = Database(path, durability="process", busy_timeout_s=0.05, now=moment)
    database.open()
    with contextlib.closing(database), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError) as caught:
            database.write_now(put("a"))
        assert caught.value.code == "locked"
        other.execute("ROLLBACK")
        database.write_now(put("a"))
        assert value_of(database, "a") == "x"


def test_closing_finishes_what_is_queued(path: Path) -> None:
    database = Database(path, durability="process", now=moment)
    database.open()
    writer = database._ready().writer
    futures = [writer.submit(put(f"n{place}")) for place in range(50)]
    database.close()
    assert all(future.done() and future.exception() is None for future in futures)
    database.close()


def test_a_burst_beyond_the_queue_is_told_to_wait(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasoning_bank.storage.writer._LARGEST_QUEUE", 0)
    with pytest.raises(BusyError):
        database.write_now(put("a"))


@POSIX
def test_nothing_is_acknowledged_in_a_file_that_was_removed(database: Database) -> None:
    database.write_now(put("a"))
    database.path.rename(database.path.with_name("moved.db"))
    with pytest.raises(StorageError, match="removed or replaced"):
        database.write_now(put("b"))
    database.path.with_name("moved.db").rename(database.path)
    assert value_of(database, "b") is None
    database.write_now(put("b"))


def test_a_write_that_comes_too_late_is_refused_and_does_not_hang(database: Database) -> None:
    writer = database._ready().writer
    assert writer.stop(5)
    writer._closed = False  # as seen by a thread that looked just before
    with pytest.raises(StorageError, match="closed"):
        writer.submit(put("a")).result(5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_connections(database: Database) -> None:
    database.write_now(put("parent"))
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            database.write_now(put("child"))
            status = 0 if value_of(database, "parent") == "x" and database.data_version() else 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert value_of(database, "child") == "x"
    database.write_now(put("after"))


def test_first_opening_by_many_at_once_makes_one_bank(path: Path) -> None:
    banks = [Database(path, durability="process", now=moment) for _ in range(6)]
    failures: list[BaseException] = []

    def opens(bank: Database) -> None:
        try:
            bank.open()
            bank.write_now(lambda connection: facts.put_once(connection, "salt", "one"))
        except StorageError as error:
            failures.append(error)

    threads = [threading.Thread(target=opens, args=(bank,)) for bank in banks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for bank in banks:
        bank.close()
    assert failures == []


def test_what_was_stored_is_there_after_reopening(path: Path) -> None:
    with contextlib.closing(Database(path, now=moment)) as database:
        database.open()
        stored(database, memory("m1"))
    with contextlib.closing(Database(path, now=moment)) as database:
        database.open()
        found = database.read_now(lambda connection: memories.by_ids(connection, "w", ["m1"]))
    assert found == {"m1": memory("m1")}
