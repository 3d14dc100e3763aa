"""Connections for reading, kept between reads, and how busy they are."""

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Generator
from dataclasses import dataclass

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError


@dataclass(frozen=True, slots=True)
class ReaderStatistics:
    """How busy the readers are.

    Attributes:
        in_use: reading now.
        opened: connections opened so far; `above_kept` of them because all that are kept were in use.
        waits: reads of coroutines that waited until another one had ended.
    """

    in_use: int
    opened: int
    above_kept: int
    waits: int


class ReadPool:
    """Idle reading connections; a thread that finds none opens one, and those above `kept` are closed after use."""

    def __init__(self, engine: Engine, kept: int) -> None:
        self._engine = engine
        self._kept = kept
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue(kept)
        self._closed = False
        self._counting = threading.Lock()
        self._asked = self._in_use = self._opened = self._above_kept = self._waits = 0

    @contextlib.contextmanager
    def connection(self) -> Generator[Connection]:
        """A connection for one thread until the block ends; one that met a fault is not used again."""
        connection = self._taken()
        try:
            yield connection
        except (sqlite3.Error, DBAPIError):
            connection.close()  # a fresh one may do better than one that met a fault
            raise
        finally:
            self._give_back(connection)

    @contextlib.contextmanager
    def in_turn(self) -> Generator[None]:
        """Count a read of a coroutine, of which no more than are kept go on at once: the others wait."""
        with self._counting:
            self._asked += 1
            self._waits += self._asked > self._kept
        try:
            yield
        finally:
            with self._counting:
                self._asked -= 1

    def statistics(self) -> ReaderStatistics:
        """How busy the readers are and were."""
        with self._counting:
            return ReaderStatistics(self._in_use, self._opened, self._above_kept, self._waits)

    def close(self) -> None:
        """Close what is idle, and the others after use."""
        self._closed = True
        while not self._idle.empty():
            with contextlib.suppress(queue.Empty):
                self._idle.get_nowait().close()

    def _taken(self) -> Connection:
        try:
            connection, opened = self._idle.get_nowait(), 0
        except queue.Empty:
            connection, opened = self._engine.connect(), 1
        with self._counting:
            self._in_use += 1
            self._opened += opened
            self._above_kept += opened and self._in_use > self._kept
        return connection

    def _give_back(self, connection: Connection) -> None:
        with self._counting:
            self._in_use -= 1
        try:
            if connection.closed or self._closed:
                connection.close()
            else:
                self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()
