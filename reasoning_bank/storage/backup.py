"""A copy of the bank that is whole, made while others write."""

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from reasoning_bank.storage import directory
from reasoning_bank.storage.faults import storage_error, translated

_PAGES_AT_ONCE = 2000


def create(database_path: Path, target: Path) -> Path:
    """Writes a backup to a new file (0600) through SQLite's backup interface; the file.

    Under another name until it is complete and checked, so that what bears the name is a whole backup.

    Raises:
        StorageError: when the bank cannot be read, the target cannot be written or exists already.
    """
    if target.exists():
        raise storage_error("io", f"There is a file {target.name!r} already")
    # Several processes may back up at once: each into a file of its own.
    partial = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.partial")
    partial.unlink(missing_ok=True)
    try:
        directory.create_private(partial)
        _copy(database_path, partial)
        partial.rename(target)
    except sqlite3.Error as error:
        typed = translated(error, partial) or storage_error("io")
        raise typed from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def _copy(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as original,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        original.backup(copy, pages=_PAGES_AT_ONCE)
        # One file without a write-ahead log: it is complete wherever it is carried.
        copy.execute("PRAGMA journal_mode=DELETE")
        if copy.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise storage_error("damaged", "The backup failed its check")
