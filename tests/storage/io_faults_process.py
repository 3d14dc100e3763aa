"""Stores traces while one I/O call after the other fails, and reports what became of each.

Usage: LD_PRELOAD=io_faults.so python io_faults_process.py io_faults.so BANK STEP; run by test_io_faults.py, which
puts this directory on the path.
"""

import contextlib
import ctypes
import errno
import json
import sys
from collections import Counter
from pathlib import Path

from writer_process import now, store

from reasoning_bank.errors import StorageError
from reasoning_bank.storage import Database, memories

STORES = 4


class Run:
    """What was acknowledged and what was said of the rest."""

    def __init__(self, path: Path, shim: str) -> None:
        self.path = path
        self.faults = ctypes.CDLL(shim)
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self.codes = Counter[str]()
        self.fired = 0

    def under_fault(self, name: str, at: int, *, sticky: bool, error: int) -> int:
        """Opens the bank, stores and reads while the `at`-th I/O call fails; how many calls there were."""
        database = Database(self.path, busy_timeout_s=2, now=now)
        database.open()
        with contextlib.closing(database):
            self.faults.fault_plan(at, int(sticky), error)
            for number in range(STORES):
                self._store(database, f"{name}-{number}")
            try:
                database.read_now(lambda connection: list(memories.load_for_index(connection, "w")))
                database.data_version()
            except StorageError as failure:
                self.codes[failure.code] += 1
            calls, self.fired = self.faults.fault_calls(), self.fired + bool(self.faults.fault_fired())
            self.faults.fault_plan(0, 0, 0)
            # The disk works again: so must the same connections.
            self._store(database, f"{name}-healed")
        return calls

    def _store(self, database: Database, name: str) -> None:
        try:
            database.write_now(lambda connection: store(connection, name))
        except StorageError as failure:
            self.codes[failure.code] += 1
            self.refused.append(name)
        else:
            self.acknowledged.append(name)


def main(shim: str, path: str, step: int) -> None:
    run = Run(Path(path), shim)
    calls = run.under_fault("none", 0, sticky=False, error=errno.EIO)
    plans = [(sticky, error) for sticky in (False, True) for error in (errno.EIO, errno.ENOSPC)]
    for number, at in enumerate(range(1, calls + 1, step)):
        sticky, error = plans[number % len(plans)]
        run.under_fault(f"at{at}", at, sticky=sticky, error=error)
    print(json.dumps({"fired": run.fired, "codes": run.codes, "ok": run.acknowledged, "refused": run.refused}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
