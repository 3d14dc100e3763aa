"""Each statement timed: told to who listens, and the slow ones logged with their plan, never with their values."""

import logging
import re
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from reasoning_bank.monitoring.statements import Statement, listeners

logger = logging.getLogger(__name__)

SLOW_KEPT: Final = 20
_LOG_PAUSE_S = 60.0
_MOST_REMEMBERED = 500
_clock: Final = time.perf_counter  # looked up twice for each row
_LIST: Final = re.compile(r"\(\?(?:, \?)+\)(?:, \(\?(?:, \?)+\))*")


@dataclass(frozen=True, slots=True)
class SlowStatement:
    """A statement that took longer than is allowed.

    Attributes:
        sql: its text, lists of placeholders shortened.
        rows: how many it returned, or changed.
        plan: SQLite's query plan, one line per step.
    """

    sql: str
    seconds: float
    rows: int
    plan: tuple[str, ...]
    at: datetime


class StatementWatch:
    """What becomes of the times of statements, of all connections of a database.

    Args:
        slow_s: statements that take longer are kept and logged; each text once a minute at most.
        now: the wall clock, for the log of slow statements.
        timer: monotonic clock in seconds.
    """

    def __init__(
        self,
        *,
        slow_s: float = 0.1,
        now: Callable[[], datetime],
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.slow = 0
        self._slow_s = slow_s
        self._now = now
        self._timer = timer
        self._kept: deque[SlowStatement] = deque(maxlen=SLOW_KEPT)
        self._logged: dict[str, float] = {}
        self._lock = threading.Lock()

    def slowest(self) -> tuple[SlowStatement, ...]:
        """Return the latest slow statements, the slowest first."""
        return tuple(sorted(self._kept, key=lambda each: -each.seconds))

    def done(self, cursor: "TimedCursor") -> None:
        """Take the time of a statement whose cursor is being closed."""
        if told := listeners():
            statement = Statement(cursor.sql, cursor.seconds, cursor.rows)
            for listener in told:
                listener(statement)
        if cursor.seconds > self._slow_s:
            self._keep(cursor)

    def _keep(self, cursor: "TimedCursor") -> None:
        sql = shortened(cursor.sql)
        with self._lock:
            self.slow += 1
            if self._timer() - self._logged.get(sql, -_LOG_PAUSE_S) < _LOG_PAUSE_S:
                return
            if len(self._logged) >= _MOST_REMEMBERED:
                self._logged.clear()
            self._logged[sql] = self._timer()
        found = SlowStatement(sql, cursor.seconds, cursor.rows, cursor.plan(), self._now())
        self._kept.append(found)
        # Not a warning: a busy machine makes them, and a command that was typed is to show its own output only.
        logger.info(
            "slow statement: %.0f ms, %d rows: %s; plan: %s",
            found.seconds * 1000,
            found.rows,
            found.sql,
            "; ".join(found.plan),
        )


def shortened(sql: str) -> str:
    """Return a statement in one line, with each list of placeholders as one: IN lists of any length are the same."""
    return _LIST.sub("(?, …)", " ".join(sql.split()))


class TimedConnection(sqlite3.Connection):
    """A connection whose cursors time their statements."""

    watch: StatementWatch | None = None

    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor that tells `watch` of its statement."""
        if factory is not None or self.watch is None:
            return super().cursor(factory or sqlite3.Cursor)
        cursor = super().cursor(TimedCursor)
        cursor.watch = self.watch
        return cursor


class TimedCursor(sqlite3.Cursor):
    """A cursor that says, once it is closed, what its statement took: executing it and fetching its rows.

    SQLite finds rows while they are fetched: the time of `execute` alone would miss most of a slow statement.
    """

    # Defaults of the class and no constructor: a cursor is made for each statement.
    watch: StatementWatch | None = None
    sql = ""
    seconds = 0.0
    _fetched = 0
    _values = 0

    @property
    def rows(self) -> int:
        """How many rows the statement returned, or changed."""
        return self._fetched or max(self.rowcount, 0)

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        """Execute a statement."""
        self.sql = sql
        self._values = len(parameters)
        started = _clock()
        try:
            return super().execute(sql, parameters)
        finally:
            self.seconds += _clock() - started

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Self:
        """Execute a statement once for each row of values."""
        self.sql = sql
        started = _clock()
        try:
            return super().executemany(sql, parameters)
        finally:
            self.seconds += _clock() - started

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        started = _clock()
        row = super().fetchone()
        self.seconds += _clock() - started
        self._fetched += row is not None
        return row

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return the next rows."""
        started = _clock()
        rows = super().fetchmany(self.arraysize if size is None else size)
        return self._fetched_since(started, rows)

    def fetchall(self) -> list[Any]:
        """Return the rest of the rows."""
        started = _clock()
        return self._fetched_since(started, super().fetchall())

    def close(self) -> None:
        """Close the cursor; its statement is over."""
        if self.sql and self.watch is not None:
            self.watch.done(self)
            self.sql = ""
        super().close()

    def plan(self) -> tuple[str, ...]:
        """Return SQLite's plan of the statement; it depends on the shape of the values only."""
        explained = self.connection.cursor(sqlite3.Cursor)
        try:
            explained.execute(f"EXPLAIN QUERY PLAN {self.sql}", (None,) * (self._values or self.sql.count("?")))
            return tuple(row[3] for row in explained)
        except sqlite3.Error as error:
            return (f"unknown: {error}",)
        finally:
            explained.close()

    def _fetched_since(self, started: float, rows: list[Any]) -> list[Any]:
        self.seconds += _clock() - started
        self._fetched += len(rows)
        return rows
