"""Counters of changes in a file that several processes share: written in one, seen in all at once."""

import os
import struct
import threading
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

from reasoning_bank.cache.changes import SLOTS

_NUMBER: Final = struct.Struct("<Q")


class FileCounters:
    """`SLOTS` numbers, read and written one at a time by any process or thread.

    Read one by one from what the kernel has in memory: cheap enough for every look into a cache. Not
    mapped into memory, where a full or shortened file would end the process.

    Args:
        path: the file, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: FileIO | None = None

    def open(self) -> None:
        """Open the file, or make it; by whoever has the cache to itself. Raises OSError."""
        with self._lock:
            if self._file is None:
                self._path.touch(mode=0o600)
                self._file = FileIO(self._path, "r+")
            if os.fstat(self._file.fileno()).st_size != SLOTS * _NUMBER.size:
                # Nothing that was read at the counters of a file before this one may match these.
                first = _NUMBER.pack(int.from_bytes(os.urandom(6)) * 2)
                self._file.seek(0)
                self._file.write(first + bytes((SLOTS - 1) * _NUMBER.size))
                self._file.truncate()

    @property
    def live(self) -> bool:
        """Whether it is open, and the file that others have open too: nobody deleted it."""
        with self._lock, suppress(OSError):
            return self._file is not None and os.fstat(self._file.fileno()).st_nlink > 0
        return False

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def __getitem__(self, slot: int) -> int:
        with self._lock:
            numbers = self._at(slot).read(_NUMBER.size)
        if len(numbers) < _NUMBER.size:
            raise OSError(f"no counter {slot}: the file was cut")
        return _NUMBER.unpack(numbers)[0]

    def __setitem__(self, slot: int, number: int) -> None:
        with self._lock:
            self._at(slot).write(_NUMBER.pack(number))

    def _at(self, slot: int) -> FileIO:
        if self._file is None:
            raise OSError("the counters are not open")
        self._file.seek(slot * _NUMBER.size)
        return self._file
