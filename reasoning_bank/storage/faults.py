"""What SQLite's failures mean to the person who runs the bank: the one place where its errors become ours."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from reasoning_bank.errors import StorageCode, StorageError

_ADVICE: dict[StorageCode, str] = {
    "full": "the disk holding the bank is full; free some space and try again",
    "read_only": "the bank is read-only; make its directory and file writable for this user, or choose another one",
    "damaged": "the bank's file is damaged; keep it, and restore a backup or recover it with `sqlite3 FILE .recover`",
    "locked": "another process kept the bank locked for too long; try again",
    "foreign": "the file or directory belongs to someone or something else; choose another data directory",
    "io": "the bank's file could not be read or written; check the disk, then try again",
}
# A commit needs some pages of the write-ahead log; with less than this left, an I/O error is a full disk.
_ROOM_FOR_A_COMMIT_BYTES = 1 << 20
_READ_AT_ONCE_BYTES = 1 << 20


def storage_error(code: StorageCode, detail: str = "") -> StorageError:
    """A StorageError with the code's advice, and a detail in front when there is one."""
    advice = _ADVICE[code]
    return StorageError(f"{detail}: {advice}" if detail else advice[0].upper() + advice[1:], code=code)


def translated(error: BaseException, path: Path) -> StorageError | None:
    """The StorageError that an error of SQLite amounts to, or None when it is none of the file's faults.

    A first report of corruption can be a read fault of a healthy file, so the file is opened anew and checked
    before it is called damaged; this may take a second per gigabyte.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, sqlite3.Error):
        return None
    code = _code(cause, path)
    return storage_error(code) if code else None


def is_damaged(path: Path) -> bool:
    """Whether a fresh look finds a file that can be read from end to end and is no sound database."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
    except sqlite3.Error:
        # SQLite calls a page it cannot read malformed, too: then it is the disk that fails, not the file.
        return _can_be_read(path)


def _can_be_read(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return False
    try:
        while os.read(file, _READ_AT_ONCE_BYTES):
            pass
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def _code(error: sqlite3.Error, path: Path) -> StorageCode | None:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return "damaged" if is_damaged(path) else "io"
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):
        return _io_code(path)
    for prefix, code in _CODES.items():
        if name.startswith(prefix):
            return code
    return None


_CODES: dict[str, StorageCode] = {
    "SQLITE_FULL": "full",
    "SQLITE_READONLY": "read_only",
    "SQLITE_PERM": "read_only",
    "SQLITE_AUTH": "read_only",
    "SQLITE_BUSY": "locked",
    "SQLITE_LOCKED": "locked",
    "SQLITE_PROTOCOL": "locked",
    "SQLITE_NOLFS": "full",
    "SQLITE_TOOBIG": "full",
}


def _io_code(path: Path) -> StorageCode:
    if not os.access(path.parent, os.W_OK):
        return "read_only"
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return "io"
    return "full" if free < _ROOM_FOR_A_COMMIT_BYTES else "io"
