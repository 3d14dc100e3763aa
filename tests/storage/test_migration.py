"""An older bank is backed up and brought up to date in one step, or left exactly as it was."""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from reasoning_bank.errors import MigrationError, StorageError
from reasoning_bank.records import Source
from reasoning_bank.storage import Database, integrity, memories, schema, traces, version
from reasoning_bank.storage.migrations import upgrade as migration

from .samples import memory, moment, stored

VERSIONS = Path(migration.__file__).parent / "versions"
NEXT = '''"""A later release: one more column, and one more table."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds them."""
    with op.batch_alter_table("feedback") as table:
        table.add_column(sa.Column("weight", sa.Integer(), server_default="7"))
    op.create_table("extra", sa.Column("a", sa.Integer()))
    {failure}
'''


@pytest.fixture
def bank(path: Path) -> Path:
    """A bank of the present schema with one memory."""
    with contextlib.closing(Database(path, durability="process", now=moment)) as database:
        database.open()
        stored(database, memory("m1"))
    return path


def versions(tmp_path: Path, failure: str = "") -> Path:
    directory = tmp_path / "versions"
    directory.mkdir(exist_ok=True)
    for own in VERSIONS.glob("revision_*.py"):
        shutil.copy(own, directory)
    (directory / "revision_0004.py").write_text(NEXT.format(failure=failure), encoding="utf-8")
    return directory


def upgraded(path: Path, directory: Path) -> Path | None:
    return migration.upgrade(path, busy_timeout_s=5, now=moment, target="0004", versions=directory)


def columns(path: Path, table: str) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def found(path: Path) -> object:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT id, title FROM memories").fetchall()


def revision(path: Path) -> str | None:
    return version.revision(path, busy_timeout_s=5)


def test_an_older_bank_is_backed_up_and_brought_up_to_date(bank: Path, tmp_path: Path) -> None:
    backup = upgraded(bank, versions(tmp_path))
    assert backup is not None
    assert backup.name == "bank.db.before-0003-20260101T000000.bak"
    assert (revision(bank), revision(backup)) == ("0004", "0003")
    assert "weight" in columns(bank, "feedback")
    assert "weight" not in columns(backup, "feedback")
    assert found(bank) == found(backup) == [("m1", "Title of m1")]
    assert integrity.check(bank).sound
    assert integrity.check(backup).sound


def test_a_bank_that_was_migrated_meanwhile_is_left_alone(bank: Path, tmp_path: Path) -> None:
    assert upgraded(bank, versions(tmp_path)) is not None
    assert upgraded(bank, versions(tmp_path)) is None
    assert len(list(bank.parent.glob("*.bak"))) == 1


def test_of_several_processes_one_migrates_and_the_others_find_it_done(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, create, others = versions(tmp_path), migration.backup.create, list[Future[Path | None]]()

    def meanwhile(database_path: Path, target: Path) -> Path:
        others.append(pool.submit(upgraded, database_path, directory))
        wait(others, timeout=0.05)  # long enough for one that does not wait to come here, too
        return create(database_path, target)

    monkeypatch.setattr(migration.backup, "create", meanwhile)
    with ThreadPoolExecutor() as pool:
        copy = upgraded(bank, directory)
        assert [other.result(5) for other in others] == [None]
    assert copy is not None
    assert (revision(bank), revision(copy)) == ("0004", "0003")
    assert list(bank.parent.glob("*.bak")) == [copy]


def test_a_failing_migration_leaves_the_bank_as_it_was_and_names_the_backup(bank: Path, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"bank\.db\.before-0003-20260101T000000\.bak") as caught:
        upgraded(bank, versions(tmp_path, 'op.execute("INSERT INTO nowhere VALUES (1)")'))
    assert "unchanged" in str(caught.value)
    assert revision(bank) == "0003"
    assert columns(bank, "extra") == set()
    assert "weight" not in columns(bank, "feedback")
    with contextlib.closing(Database(bank, durability="process", now=moment)) as database:
        database.open()
        assert database.read_now(lambda conn: memories.existing_ids(conn, "w", ["m1"])) == {"m1"}
    upgraded(bank, versions(tmp_path))
    assert len(list(bank.parent.glob("*.bak"))) == 2, "each attempt keeps its own backup"


def test_a_migration_killed_half_way_leaves_the_old_schema_and_can_be_repeated(bank: Path, tmp_path: Path) -> None:
    directory = versions(tmp_path, "import os, signal; os.kill(os.getpid(), getattr(signal, 'SIGKILL', 9))")
    code = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC\n"
        "from reasoning_bank.storage.migrations.upgrade import upgrade\n"
        "upgrade(Path(sys.argv[1]), busy_timeout_s=5, now=lambda: datetime.now(UTC), target='0004',"
        " versions=Path(sys.argv[2]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bank), str(directory)], check=False)
    assert done.returncode != 0
    assert revision(bank) == "0003"
    assert columns(bank, "extra") == set()
    assert integrity.check(bank).sound
    upgraded(bank, versions(tmp_path))
    assert revision(bank) == "0004"
    assert found(bank) == [("m1", "Title of m1")]


def test_no_migration_begins_without_a_backup(bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Path:
        raise StorageError("the disk is full", code="full")

    monkeypatch.setattr("reasoning_bank.storage.backup.create", full)
    with pytest.raises(StorageError, match="full"):
        upgraded(bank, versions(tmp_path))
    assert revision(bank) == "0003"


def test_opening_an_older_bank_migrates_it(bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = versions(tmp_path)
    monkeypatch.setattr(schema, "SCHEMA_REVISION", "0004")
    monkeypatch.setattr(migration.upgrade, "__kwdefaults__", {"versions": directory})
    with contextlib.closing(Database(bank, durability="process", now=moment)) as database:
        database.open()
        assert database.read_now(lambda conn: memories.existing_ids(conn, "w", ["m1"])) == {"m1"}
    assert revision(bank) == "0004"


def test_the_migrations_lead_to_the_schema_that_new_banks_get(tmp_path: Path) -> None:
    migrated, created = tmp_path / "migrated.db", tmp_path / "created.db"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(migrated))
    with engine.begin() as connection:
        schema.alembic_version.create(connection)
        connection.exec_driver_sql(f"PRAGMA application_id={schema.APPLICATION_ID}")
    engine.dispose()
    migration.upgrade(migrated, busy_timeout_s=5, now=moment, target=schema.SCHEMA_REVISION)
    with contextlib.closing(Database(created, durability="process", now=moment)) as database:
        database.open()
    assert shape(migrated) == shape(created)


def test_a_bank_of_the_first_release_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "bank.db"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path))
    with engine.begin() as connection:
        schema.alembic_version.create(connection)
        connection.exec_driver_sql(f"PRAGMA application_id={schema.APPLICATION_ID}")
    migration.upgrade(path, busy_timeout_s=5, now=moment, target="0001")
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO workspaces (name, created_at) VALUES ('w', 1)")
        connection.exec_driver_sql(
            "INSERT INTO traces (workspace, id, outcome, created_at, content_hash, task)"
            " VALUES ('w', 't', 'success', 1, 'h', 'sort a list')"
        )
    engine.dispose()
    with contextlib.closing(Database(path, durability="process", now=moment)) as database:
        database.open()
        trace = database.read_now(lambda conn: traces.by_id(conn, "w", "t"))
    assert trace is not None
    assert (trace.report.task, trace.source) == ("sort a list", Source("unknown"))
    assert revision(path) == schema.SCHEMA_REVISION


def shape(path: Path) -> dict[str, object]:
    """Every table with its columns, keys and indexes, as SQLite reports them."""
    with contextlib.closing(sqlite3.connect(path)) as connection:

        def rows(query: str, *values: object) -> list[tuple[Any, ...]]:
            return connection.execute(query, values).fetchall()

        return {
            str(table): (
                rows("SELECT * FROM pragma_table_info(?)", table),
                rows("SELECT * FROM pragma_foreign_key_list(?)", table),
                {
                    name: (unique, partial, rows("SELECT * FROM pragma_index_info(?)", name))
                    for name, unique, partial in rows('SELECT name, "unique", partial FROM pragma_index_list(?)', table)
                },
            )
            for (table,) in rows("SELECT name FROM sqlite_schema WHERE type = 'table'")
        }
