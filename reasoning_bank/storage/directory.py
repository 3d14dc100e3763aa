"""The bank's directory and files: made private, and refused when they are someone else's."""

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Generator
from pathlib import Path

from reasoning_bank.errors import StorageCode
from reasoning_bank.storage.faults import storage_error

_PRIVATE_DIRECTORY = 0o700
_PRIVATE_FILE = 0o600


def prepare(path: Path) -> None:
    """Makes the directory (0700) and the file (0600, empty when new) of a database; SQLite's side files copy its mode.

    Raises:
        StorageError: `foreign` for another user's or a world-writable directory, `read_only` or `full` when
            nothing can be created there.
    """
    with _typed_errors(path):
        path.parent.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        _refuse_foreign(path.parent)
        try:
            _create(path)
        except FileExistsError:
            if path.is_dir():
                raise
            _refuse_foreign(path)
            _close_to_others(path)


def create_private(path: Path) -> None:
    """Creates an empty file (0600) that must be new, and its directory (0700) when missing.

    Raises:
        StorageError: when that cannot be done.
    """
    with _typed_errors(path):
        path.parent.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        _create(path)


def identity(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to (device and number), or None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def refuse_replaced(path: Path, opened: tuple[int, int] | None) -> None:
    """Refuses to commit to a file that is no longer there: it would be acknowledged, and gone with this process.

    Raises:
        StorageError: when the path leads to another file than the opened one, or to none.
    """
    if identity(path) != opened:
        raise storage_error("io", f"{path.name!r} was removed or replaced while it was open (restart to open it anew)")


def _create(path: Path) -> None:
    # Created here, before SQLite opens it: a changed umask would change other threads' files too.
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE_FILE))


@contextlib.contextmanager
def _typed_errors(path: Path) -> Generator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise storage_error("foreign", f"{str(path)!r} is in the way or no file") from error
    except OSError as error:
        raise storage_error(_os_error_code(error), f"Cannot create {path.name!r} in {str(path.parent)!r}") from error


def _refuse_foreign(path: Path) -> None:
    if sys.platform == "win32":  # access lists rule there, and a profile directory is private
        return
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise storage_error(
            "foreign", f"{str(path)!r} belongs to user {found.st_uid}, not to this one ({os.geteuid()})"
        )
    if found.st_mode & stat.S_IWOTH:
        raise storage_error("foreign", f"{str(path)!r} can be written by everyone (run `chmod o-w` on it)")


def _close_to_others(path: Path) -> None:
    if sys.platform == "win32":
        return
    for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        if file.exists() and file.stat().st_mode & 0o077:
            file.chmod(_PRIVATE_FILE)


def _os_error_code(error: OSError) -> StorageCode:
    match error.errno:
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return "read_only"
        case errno.ENOSPC | errno.EDQUOT:
            return "full"
        case _:
            return "io"
