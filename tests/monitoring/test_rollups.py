"""Figures per quarter of an hour: gathered by each process, added together in the bank, read again as a snapshot."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.monitoring.rollups import Gathering, Rollup, as_snapshot, of_durations, quarter_of, together
from reasoning_bank.storage import rollups
from reasoning_bank.storage.database import Database

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.at = NOON

    def seconds(self) -> float:
        return self.at.timestamp()

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Process:
    """A process that measures and writes into a bank."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.clock = clock
        self.monitor = PerformanceMonitor(clock.seconds, clock=clock.seconds)
        self.gathering = Gathering(lambda since: self.monitor.quarters(since, running=True))
        self._database = database

    def write(self, *, told: bool = True) -> int:
        new = self.gathering.unwritten()
        self._database.write_now(lambda c: rollups.add(c, new))
        if told:
            self.gathering.written(new)
        return len(new)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "bank.sqlite3", now=lambda: NOON)
    made.open()
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def stored(database: Database) -> dict[tuple[int, str], Rollup]:
    return database.write_now(lambda c: rollups.between(c, since=0, until=1e12))


def test_one_row_for_each_quarter_and_name(database: Database, clock: Clock) -> None:
    process = Process(database, clock)
    for _ in range(4):
        process.monitor.observe("work", 0.25, failed=clock.at.minute == 0)
        process.monitor.count("seen", 3)
        clock.move(600)  # 12:00, 12:10, 12:20, 12:30
    process.write()
    rows = stored(database)
    first = int(NOON.timestamp())
    assert [(start - first, name) for start, name in sorted(rows)] == [
        (0, "seen"), (0, "work"), (900, "seen"), (900, "work"), (1800, "seen"), (1800, "work")
    ]  # fmt: skip
    assert (rows[first, "work"].count, rows[first, "work"].errors, rows[first, "seen"].total) == (2, 1, 6)


def test_what_is_written_every_minute_adds_up_to_what_was_measured(database: Database, clock: Clock) -> None:
    process, seeded = Process(database, clock), random.Random(7)
    durations = [seeded.lognormvariate(-4, 1) for _ in range(600)]
    for number, seconds in enumerate(durations):
        process.monitor.observe("work", seconds, failed=number % 10 == 0)
        process.monitor.count("seen")
        clock.move(5)
        if number % 12 == 0:
            process.write()
    process.write()
    all_ = together(stored(database))
    work = all_["work"]
    assert (work.count, work.errors, all_["seen"].total) == (600, 60, 600)
    assert work.total == pytest.approx(sum(durations))
    assert (work.smallest, work.largest) == (min(durations), max(durations))
    assert work.durations is not None
    ordered = sorted(durations)
    for share, found in zip((0.5, 0.95, 0.99), work.durations.quantiles((0.5, 0.95, 0.99)), strict=True):
        assert found == pytest.approx(ordered[int(share * 600)], rel=0.06)


def test_several_processes_add_to_the_same_row(database: Database, clock: Clock) -> None:
    one, other = Process(database, clock), Process(database, clock)
    for process, seconds in ((one, 0.1), (other, 0.3), (one, 0.1), (other, 0.5)):
        process.monitor.observe("work", seconds)
        process.write()
    (row,) = stored(database).values()
    assert (row.count, row.smallest, row.largest) == (4, 0.1, 0.5)
    assert row.total == pytest.approx(1.0)


def test_a_write_that_failed_is_made_up_for_by_the_next(database: Database, clock: Clock) -> None:
    process = Process(database, clock)
    process.monitor.observe("work", 0.1)
    lost = process.gathering.unwritten()
    assert len(lost) == 1
    clock.move(1_000)
    process.monitor.observe("work", 0.1)
    process.write()
    assert sum(row.count for row in stored(database).values()) == 2


def test_nothing_is_written_twice(database: Database, clock: Clock) -> None:
    process = Process(database, clock)
    process.monitor.observe("work", 0.1)
    assert [process.write(), process.write()] == [1, 0]
    clock.move(2_000)
    assert process.write() == 0


def test_a_reset_meanwhile_takes_nothing_away(database: Database, clock: Clock) -> None:
    process = Process(database, clock)
    process.monitor.observe("work", 0.1)
    process.monitor.observe("work", 0.1)
    process.write()
    process.monitor.reset()
    process.monitor.observe("work", 0.2)
    process.write()
    assert sum(row.count for row in stored(database).values()) == 3


def test_gauges_are_kept_with_their_range_and_their_last(database: Database, clock: Clock) -> None:
    process, values = Process(database, clock), iter([3.0, 9.0, 6.0])
    process.monitor.gauge("process.rss_bytes", lambda: next(values))
    for _ in range(3):
        process.monitor.observe("work", 0.1)
        process.gathering.look(process.monitor.snapshot())
        process.write()
    row = stored(database)[quarter_of(NOON), "process.rss_bytes"]
    assert (row.kind, row.count, row.smallest, row.largest, row.mean, row.last) == ("gauge", 3, 3.0, 9.0, 6.0, 6.0)


def test_an_idle_process_writes_nothing(database: Database, clock: Clock) -> None:
    process = Process(database, clock)
    process.monitor.gauge("process.rss_bytes", lambda: 1.0)
    process.gathering.look(process.monitor.snapshot())
    assert process.write() == 0


def test_stored_figures_are_read_as_a_snapshot(database: Database, clock: Clock) -> None:
    process = Process(database, clock)
    process.monitor.gauge("memories", lambda: 7.0)
    for seconds in (0.2, 0.4):
        process.monitor.observe("retrieve_memory", seconds)
        process.monitor.count("cache.retrieval.hits", 3)
        process.monitor.count("cache.retrieval.misses")
        process.gathering.look(process.monitor.snapshot())
        process.write()
        clock.move(3 * 3600)
    snapshot = as_snapshot(stored(database), at=NOON + timedelta(hours=3, minutes=10))
    assert snapshot.value("retrieve_memory:mean_ms") == pytest.approx(400)
    assert snapshot.value("retrieve_memory:mean_ms", "24h") == pytest.approx(300)
    assert snapshot.value("cache.retrieval:hit_rate", "24h") == 0.75
    assert snapshot.value("memories:value") == 7.0
    assert snapshot.value("retrieve_memory:count", "1m") is None


def test_rates_of_what_is_stored_are_about_the_time_that_its_quarters_cover(database: Database, clock: Clock) -> None:
    process = Process(database, clock)
    for _ in range(8):
        for _ in range(10):
            process.monitor.count("sql.slow")
            clock.move(90)
    process.write()
    snapshot = as_snapshot(stored(database), at=NOON + timedelta(hours=1, minutes=59, seconds=50))
    assert snapshot.value("sql.slow:count") == 20
    for window in ("15m", "24h"):
        assert snapshot.value("sql.slow:per_minute", window) == pytest.approx(10 / 15, rel=0.02)


def test_gauges_are_those_of_the_latest_quarters_and_not_one_look(database: Database, clock: Clock) -> None:
    process, values = Process(database, clock), iter([80.0, 20.0, 30.0, 100.0])
    process.monitor.gauge("process.cpu_percent", lambda: next(values))
    for minutes in (60, 10, 10, 10):
        process.monitor.observe("work", 0.1)
        process.gathering.look(process.monitor.snapshot())
        process.write()
        clock.move(60 * minutes)
    assert as_snapshot(stored(database), at=clock.at).value("process.cpu_percent:value") == 50.0


def test_the_extremes_since_then_are_not_those_of_before(database: Database, clock: Clock) -> None:
    process = Process(database, clock)
    for seconds in (0.5, 0.00001):
        process.monitor.observe("work", seconds)
    process.write()
    database.write_now(rollups.forget)
    process.monitor.observe("work", 0.01)
    process.write()
    (row,) = stored(database).values()
    assert (row.smallest, row.largest) == (pytest.approx(0.01, rel=0.06), pytest.approx(0.01, rel=0.06))


@pytest.mark.parametrize("broken", ["sketch = x'00'", "sketch = 'text'", "total = 'text'", "smallest = 'text'"])
def test_a_row_that_cannot_be_read_is_left_out_and_written_over(
    database: Database, clock: Clock, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(database, clock)
    for name in ("work", "other"):
        process.monitor.observe(name, 0.1)
    process.write()
    database.write_now(lambda c: c.exec_driver_sql(f"update metric_rollups set {broken} where name = 'work'"))
    assert [name for _, name in stored(database)] == ["other"]
    assert [record.message.partition(" cannot")[0] for record in caplog.records] == ["1 rows of figures"]
    process.monitor.observe("work", 0.1)
    process.write()
    assert sorted(name for _, name in stored(database)) == ["other", "work"]


def test_old_quarters_are_dropped(database: Database, clock: Clock) -> None:
    process = Process(database, clock)
    for _ in range(3):
        process.monitor.observe("work", 0.1)
        process.write()
        clock.move(86_400)
    gone = database.write_now(lambda c: rollups.forget(c, before=NOON + timedelta(hours=30)))
    assert gone == 2
    assert list(stored(database)) == [(quarter_of(NOON + timedelta(hours=48)), "work")]
    assert database.write_now(rollups.forget) == 1
    assert stored(database) == {}


def test_a_row_is_small(database: Database, clock: Clock) -> None:
    """A month of quarters with a hundred names each: what is kept has to stay below the size of a bank."""
    process, seeded = Process(database, clock), random.Random(3)
    for _ in range(5_000):
        process.monitor.observe("work", seeded.lognormvariate(-5, 1.2))
    process.write()
    size = database.write_now(lambda c: c.exec_driver_sql("select length(sketch) from metric_rollups").scalar_one())
    assert size < 400


def test_a_quarter_holds_what_began_in_it() -> None:
    assert quarter_of(NOON + timedelta(minutes=14, seconds=59)) == NOON.timestamp()
    assert quarter_of(NOON + timedelta(minutes=15)) == NOON.timestamp() + 900
    empty = Rollup("operation")
    assert empty.mean == 0.0
    monitor = PerformanceMonitor()
    monitor.observe("work", 2.0)
    assert of_durations(monitor.totals()["work"]).mean == 2.0
