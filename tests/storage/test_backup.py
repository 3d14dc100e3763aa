"""Backups are whole, private and never half; a check says what is wrong and changes nothing."""

import contextlib
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from reasoning_bank.errors import StorageError
from reasoning_bank.storage import Database, backup, integrity, memories
from reasoning_bank.storage.schema import changes, embeddings, memory_terms

from .samples import memory, moment, stored


def ids_in(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {id_ for (id_,) in connection.execute("SELECT id FROM memories")}


def test_a_backup_opens_as_a_bank(database: Database, tmp_path: Path) -> None:
    stored(database, memory("m1"), memory("m2"))
    target = backup.create(database.path, tmp_path / "copies" / "bank.bak")
    assert [file.name for file in target.parent.iterdir()] == ["bank.bak"]
    assert integrity.check(target).sound
    restored = tmp_path / "restored" / "bank.db"
    restored.parent.mkdir(mode=0o700)
    target.rename(restored)
    with contextlib.closing(Database(restored, durability="process", now=moment)) as copy:
        copy.open()
        found = copy.read_now(lambda conn: memories.by_ids(conn, "w", ["m1", "m2"]))
    assert found == {"m1": memory("m1"), "m2": memory("m2")}


def test_an_unfinished_backup_of_another_process_is_left_alone(database: Database, tmp_path: Path) -> None:
    theirs = tmp_path / "bank.bak.partial"
    theirs.write_text("half", encoding="utf-8")
    backup.create(database.path, tmp_path / "bank.bak")
    assert theirs.read_text(encoding="utf-8") == "half"


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_a_backup_is_private(database: Database, tmp_path: Path) -> None:
    target = backup.create(database.path, tmp_path / "bank.bak")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_backup_made_while_others_write_is_one_moment_of_the_bank(database: Database, tmp_path: Path) -> None:
    stored(database, *(memory(f"m{place}") for place in range(50)))
    stop = threading.Event()

    def writes() -> None:
        place = 50
        while not stop.is_set():
            # Two in one transaction: a backup that saw half of it would hold an odd number.
            stored(database, memory(f"m{place}"), memory(f"m{place + 1}"))
            place += 2

    writer = threading.Thread(target=writes)
    writer.start()
    try:
        copies = [backup.create(database.path, tmp_path / f"{number}.bak") for number in range(5)]
    finally:
        stop.set()
        writer.join(10)
    assert all(integrity.check(copy).sound for copy in copies)
    assert all(len(ids_in(copy)) % 2 == 0 for copy in copies)


def test_an_existing_file_is_not_overwritten(database: Database, tmp_path: Path) -> None:
    target = tmp_path / "bank.bak"
    target.write_text("precious", encoding="utf-8")
    with pytest.raises(StorageError, match=r"bank\.bak"):
        backup.create(database.path, target)
    assert target.read_text(encoding="utf-8") == "precious"


def test_a_backup_of_nothing_fails_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        backup.create(tmp_path / "none.db", tmp_path / "bank.bak")
    assert list(tmp_path.iterdir()) == []


def test_a_sound_bank_passes_both_checks(database: Database) -> None:
    stored(database, memory("m1"))
    assert integrity.check(database.path).sound
    assert integrity.check(database.path, quick=True).sound


def test_a_check_names_what_is_missing(database: Database) -> None:
    stored(database, memory("m1"))
    database.write_now(lambda conn: (conn.execute(delete(memory_terms)), conn.execute(delete(changes))))
    problems = integrity.check(database.path).problems
    assert problems == ("1 memories without terms", "1 memories that no change tells of")


def test_a_check_finds_vectors_cut_short(database: Database) -> None:
    from reasoning_bank.storage.embeddings import EmbeddingRow, put, register_model

    stored(database, memory("m1"))
    row = EmbeddingRow("m1", "w", "text", 0, "A", 2, "fp32", "h", 1.0, b"12345678")
    database.write_now(lambda conn: (register_model(conn, "A", {}, moment()), put(conn, [row])))
    assert integrity.check(database.path).sound
    database.write_now(lambda conn: conn.execute(update(embeddings).values(vector=b"1234")))
    assert integrity.check(database.path).problems == ("1 vectors of a wrong length",)


def test_a_check_of_a_damaged_or_missing_file_says_so(database: Database, tmp_path: Path) -> None:
    stored(database, *(memory(f"m{place}") for place in range(200)))
    database.close()
    size = database.path.stat().st_size
    with database.path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 20_000)
    before = database.path.read_bytes()
    assert not integrity.check(database.path).sound
    assert not integrity.check(database.path, quick=True).sound
    assert database.path.read_bytes() == before
    assert integrity.check(tmp_path / "none.db").problems == ("there is no such file",)
    (tmp_path / "text.db").write_bytes(b"not a database at all" * 100)
    assert "cannot read" in integrity.check(tmp_path / "text.db").problems[0]
