"""What may go wrong with processes, disks and files: a typed error, nothing acknowledged lost, nothing half done."""

import contextlib
import errno
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasoning_bank.errors import StorageError
from reasoning_bank.storage import Database, faults, integrity, memories
from reasoning_bank.storage.faults import translated

from .samples import memory, moment, stored

WRITER = Path(__file__).with_name("writer_process.py")
POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and limits")


def writer(path: Path, name: str, count: int, *more: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), str(path), name, str(count), *map(str, more)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def acknowledged(output: str) -> set[str]:
    # A line without its end was cut by the kill: not acknowledged.
    return {
        line.removeprefix("ACK ").strip()
        for line in output.splitlines(keepends=True)
        if line.startswith("ACK ") and line.endswith("\n")
    }


def whole_stores(path: Path) -> set[str]:
    """Names of the stores in the bank, after asserting that each is there with all its parts."""
    with contextlib.closing(sqlite3.connect(path)) as connection:

        def column(query: str) -> list[str]:
            return [value for (value,) in connection.execute(query)]

        names = column("SELECT id FROM traces")
        parts = sorted(f"{name}-{part}" for name in names for part in (0, 1))
        assert sorted(column("SELECT id FROM memories")) == parts
        assert sorted(column("SELECT memory_id FROM change_log WHERE op = 'insert'")) == parts
        assert sorted(column("SELECT m.id FROM memory_terms JOIN memories AS m ON m.seq = memory")) == parts
        assert sorted(column("SELECT key FROM idempotency_keys WHERE answer IS NOT NULL")) == sorted(names)
        assert len(column("SELECT seq FROM outbox")) == len(names)
    assert integrity.check(path).sound
    return set(names)


@POSIX
@pytest.mark.faults
def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    rng = random.Random(7)
    promised: set[str] = set()
    for round_ in range(6):
        process = writer(path, f"r{round_}", 100_000)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(rng.uniform(0, 0.2))  # the moment of the kill must be random; nothing is waited for
        process.kill()
        # One reader for all of it: `communicate` would miss the lines that `readline` has buffered.
        promised |= acknowledged(first + process.stdout.read())
        process.communicate(timeout=10)
    kept = whole_stores(path)
    assert promised <= kept
    assert len(promised) >= 6
    assert len(kept - promised) <= 6, "at most the one that was committed and not yet said, per kill"


@POSIX
@pytest.mark.faults
def test_several_processes_write_one_bank_without_an_error(path: Path) -> None:
    processes = [writer(path, f"p{number}", 60) for number in range(4)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    promised = set[str]().union(*(acknowledged(out) for out, _ in outputs))
    assert len(promised) == 240
    assert whole_stores(path) == promised


@POSIX
def test_what_another_process_stored_is_found_at_once(database: Database) -> None:
    before = database.data_version()
    process = writer(database.path, "other", 1)
    out, err = process.communicate(timeout=30)
    assert acknowledged(out) == {"other-0"}, err
    assert database.data_version() != before
    assert database.read_now(lambda conn: memories.existing_ids(conn, "w", ["other-0-1"])) == {"other-0-1"}


@POSIX
def test_a_disk_that_fills_up_is_named_and_writing_goes_on_when_there_is_room(path: Path) -> None:
    process = writer(path, "full", 1000, 600_000)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert ("ERROR full" in out) or ("ERROR io" in out), "a limit on file size is an I/O error to SQLite"
    assert "-again" in out
    assert whole_stores(path) == acknowledged(out)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = shutil.which("mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        not mount
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", disk], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_says_full_and_reading_goes_on(small_disk: Path) -> None:
    database = Database(small_disk / "bank.db", durability="process", now=moment)
    database.open()
    with contextlib.closing(database):
        kept: list[str] = []
        with pytest.raises(StorageError) as caught:
            for place in range(10_000):
                stored(database, memory(f"m{place}", text="x" * 20_000))
                kept.append(f"m{place}")
        assert caught.value.code == "full"
        assert "free some space" in str(caught.value)
        assert database.read_now(lambda conn: memories.existing_ids(conn, "w", kept)) == set(kept)


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[Path]:
    """A directory of a user who is bound by its mode: this one, or `nobody` where this one is root."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    bank = root / "bank"
    bank.mkdir(mode=0o700)
    yield bank
    bank.chmod(0o700)
    shutil.rmtree(root)


READ_ONLY = """
import os, sys
from pathlib import Path
from datetime import UTC, datetime
import sqlalchemy.dialects.sqlite, reasoning_bank.storage.memories, asyncio
from reasoning_bank.errors import StorageError
from reasoning_bank.storage import Database, facts
bank = Path(sys.argv[1])
if os.geteuid() == 0:
    for file in (bank, *bank.iterdir()):
        os.chown(file, 65534, 65534)
    os.setuid(65534)
database = Database(bank / "bank.db", now=lambda: datetime.now(UTC))
if sys.argv[2] == "later":
    database.open()
    database.write_now(lambda conn: facts.put(conn, "a", "1"))
for file in bank.iterdir():
    file.chmod(0o400)
bank.chmod(0o500)
try:
    if sys.argv[2] == "before":
        database.open()
    database.write_now(lambda conn: facts.put(conn, "b", "2"))
except StorageError as error:
    print(error.code, "|", error)
"""


@POSIX
@pytest.mark.parametrize("moment_of_change", ["before", "missing"])
def test_a_read_only_directory_is_refused_with_advice(unprivileged: Path, moment_of_change: str) -> None:
    if moment_of_change == "before":
        with contextlib.closing(Database(unprivileged / "bank.db", now=moment)) as database:
            database.open()
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(unprivileged), "before"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stdout.startswith("read_only | "), done
    assert "writable" in done.stdout


def damage(path: Path) -> bytes:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3)
        file.write(os.urandom(path.stat().st_size // 2))
    return path.read_bytes()


def test_a_damaged_file_is_refused_with_advice_and_never_touched(path: Path) -> None:
    with contextlib.closing(Database(path, durability="process", now=moment)) as database:
        database.open()
        stored(database, *(memory(f"m{place}") for place in range(200)))
    before = damage(path)
    ids = [f"m{place}" for place in range(200)]
    database = Database(path, durability="process", now=moment)
    with contextlib.closing(database), pytest.raises(StorageError) as caught:
        database.open()
        database.read_now(lambda conn: memories.by_ids(conn, "w", ids))
    assert caught.value.code == "damaged"
    assert "restore a backup" in str(caught.value)
    assert path.read_bytes() == before
    assert faults.is_damaged(path)


def test_a_file_cut_short_is_damaged(path: Path) -> None:
    with contextlib.closing(Database(path, durability="process", now=moment)) as database:
        database.open()
        stored(database, *(memory(f"m{place}") for place in range(200)))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    database = Database(path, durability="process", now=moment)
    with contextlib.closing(database), pytest.raises(StorageError) as caught:
        database.open()
        stored(database, memory("new"))
        database.read_now(lambda conn: list(memories.load_for_index(conn, "w")))
    assert caught.value.code == "damaged"


def test_a_false_alarm_of_corruption_is_a_passing_fault(database: Database) -> None:
    """SQLite calls a sound file corrupt while its disk fails to read (facts: injected read faults)."""
    stored(database, memory("m1"))
    alarm = sqlite3.DatabaseError("database disk image is malformed")
    alarm.sqlite_errorname = "SQLITE_CORRUPT"
    typed = translated(alarm, database.path)
    assert typed is not None
    assert typed.code == "io"


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    assert not faults.is_damaged(tmp_path / "gone.db")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SQLITE_FULL", "full"),
        ("SQLITE_READONLY_DBMOVED", "read_only"),
        ("SQLITE_BUSY_SNAPSHOT", "locked"),
        ("SQLITE_IOERR_FSYNC", "io"),
        ("SQLITE_CANTOPEN", "io"),
        ("SQLITE_NOTADB", "io"),
    ],
)
def test_each_failure_of_sqlite_has_its_code(database: Database, name: str, code: str) -> None:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorname = name
    typed = translated(error, database.path)
    assert typed is not None
    assert typed.code == code


def test_a_mistake_in_a_statement_stays_a_mistake(database: Database) -> None:
    error = sqlite3.OperationalError("no such column")
    error.sqlite_errorname = "SQLITE_ERROR"
    assert translated(error, database.path) is None
    assert translated(KeyError("x"), database.path) is None


@POSIX
def test_files_stay_private_after_a_kill(path: Path) -> None:
    process = writer(path, "a", 100_000)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=10)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.EROFS, "read_only"), (errno.EACCES, "read_only"), (errno.ENOSPC, "full"), (errno.EIO, "io")],
)
def test_a_bank_that_cannot_be_created_says_why(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(StorageError, match=r"bank\.db") as caught:
        Database(path, now=moment).open()
    assert caught.value.code == code
