"""Whether a file is a bank, and of which schema; Alembic is loaded only when it is behind."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

from sqlalchemy import insert

from reasoning_bank.errors import MigrationError
from reasoning_bank.storage import schema
from reasoning_bank.storage.connections import writing_engine
from reasoning_bank.storage.faults import storage_error


def bring_up_to_date(path: Path, *, busy_timeout_s: float, now: Callable[[], datetime]) -> None:
    """Creates the tables of an empty file, migrates an older schema after a backup, does nothing when current.

    Raises:
        StorageError: `foreign` when the file is another program's database.
        MigrationError: when the schema is newer than this program, or a migration failed.
        sqlite3.Error: when the file cannot be read.
    """
    found = revision(path, busy_timeout_s=busy_timeout_s)
    if found is None:
        _create(path, busy_timeout_s)
        found = revision(path, busy_timeout_s=busy_timeout_s)
    if found == schema.SCHEMA_REVISION:
        return
    if found is None or found > schema.SCHEMA_REVISION:
        raise MigrationError(
            f"The bank's schema is {found}, this program's {schema.SCHEMA_REVISION} is older: update reasoning-bank.",
            code="foreign",
        )
    from reasoning_bank.storage.migrations.upgrade import upgrade  # noqa: PLC0415 -- loads Alembic, 0.2 s

    upgrade(path, busy_timeout_s=busy_timeout_s, now=now, target=schema.SCHEMA_REVISION)


def revision(path: Path, *, busy_timeout_s: float) -> str | None:
    """The schema revision of a bank, or None for an empty file.

    Raises:
        StorageError: `foreign` when the file holds something else.
    """
    with closing(sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if not tables:
            return None
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != schema.APPLICATION_ID or "alembic_version" not in tables:
            raise storage_error("foreign", f"{path.name!r} is a database of another program")
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return row[0] if row else None


def _create(path: Path, busy_timeout_s: float) -> None:
    engine = writing_engine(path, durability="full", busy_timeout_s=busy_timeout_s)
    with engine.connect() as connection, connection.begin():
        # Another process may have been first; the write lock is held from here on.
        if connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar_one():
            return
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.alembic_version).values(version_num=schema.SCHEMA_REVISION))
        connection.exec_driver_sql(f"PRAGMA application_id={schema.APPLICATION_ID}")
