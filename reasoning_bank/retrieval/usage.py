"""How often each memory was served: counted in memory, written now and then, so that a search never writes."""

import logging
import threading
from collections import Counter
from collections.abc import Iterable

import anyio
from sqlalchemy import Connection

from reasoning_bank.errors import BusyError, StorageError
from reasoning_bank.storage import memories
from reasoning_bank.storage.database import Database

logger = logging.getLogger(__name__)

FLUSH_S = 5.0
"""A kill loses at most the counts of so many seconds: a statistic, nothing that was acknowledged."""


class UsageLog:
    """Collects which memories were served and adds it to their counters."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._served: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def served(self, workspace: str, ids: Iterable[str]) -> None:
        """Count one use of each memory."""
        with self._lock:
            self._served.update((workspace, id_) for id_ in ids)

    async def run(self) -> None:
        """Write what was counted every `FLUSH_S` seconds, until cancelled."""
        while True:
            await anyio.sleep(FLUSH_S)
            try:
                await self.flush()
            except (StorageError, BusyError) as error:
                logger.warning("uses are counted later: %s", error)

    async def flush(self) -> None:
        """Write what was counted so far, if anything.

        Raises:
            StorageError: it could not be written; the counts are kept for the next time.
        """
        with self._lock:
            served, self._served = self._served, Counter()
        if not served:
            return
        try:
            await self._database.write(lambda connection: _add(connection, served))
        except (StorageError, BusyError):  # not when cancelled: the write goes on then
            with self._lock:
                self._served.update(served)
            raise


def _add(connection: Connection, served: Counter[tuple[str, str]]) -> None:
    by_count: dict[tuple[str, int], list[str]] = {}
    for (workspace, id_), times in served.items():
        by_count.setdefault((workspace, times), []).append(id_)
    for (workspace, times), ids in by_count.items():
        memories.add_used(connection, workspace, ids, times)
