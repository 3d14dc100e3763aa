"""How often each memory was served, and for which task: kept in memory, written now and then: a search never writes."""

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import anyio
from sqlalchemy import Connection

from reasoning_bank.errors import BusyError, StorageError
from reasoning_bank.storage import memories, servings
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.servings import task_hash

logger = logging.getLogger(__name__)

FLUSH_S = 5.0
"""A kill loses at most the counts of so many seconds: a statistic, nothing that was acknowledged."""


class UsageLog:
    """Collects which memories were served for which task, adds it to their counters and notes it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._served: Counter[tuple[str, str]] = Counter()
        self._given: dict[tuple[str, str, str], datetime] = {}
        self._lock = threading.Lock()

    def served(self, workspace: str, ids: Sequence[str], *, task: str, now: datetime) -> None:
        """Count one use of each memory, for a task; of the task only a hash is kept."""
        hashed = task_hash(task) if ids else ""
        with self._lock:
            self._served.update((workspace, id_) for id_ in ids)
            for id_ in ids:
                self._given.setdefault((workspace, id_, hashed), now)

    async def run(self) -> None:
        """Write what was counted every `FLUSH_S` seconds, until cancelled."""
        while True:
            await anyio.sleep(FLUSH_S)
            try:
                await self.flush(may_linger=True)
            except (StorageError, BusyError) as error:
                logger.warning("uses are counted later: %s", error)

    async def flush(self, *, may_linger: bool = False) -> None:
        """Write what was counted so far, if anything.

        Args:
            may_linger: nobody waits for it: it may share the commit of a later write.

        Raises:
            StorageError: it could not be written; the counts are kept for the next time.
        """
        with self._lock:
            served, self._served = self._served, Counter()
            given, self._given = self._given, {}
        if not served:
            return
        try:
            await self._database.write(lambda connection: _add(connection, served, given), may_linger=may_linger)
        except (StorageError, BusyError):  # not when cancelled: the write goes on then
            with self._lock:
                self._served.update(served)
                self._given = given | self._given
            raise


def _add(
    connection: Connection, served: Counter[tuple[str, str]], given: Mapping[tuple[str, str, str], datetime]
) -> None:
    servings.note(connection, given)
    by_count: dict[tuple[str, int], list[str]] = {}
    for (workspace, id_), times in served.items():
        by_count.setdefault((workspace, times), []).append(id_)
    for (workspace, times), ids in by_count.items():
        memories.add_used(connection, workspace, ids, times)
