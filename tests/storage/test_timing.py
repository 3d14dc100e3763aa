"""What a database says of itself: times, slow statements with their plans, groups, and how busy its readers are."""

import asyncio
import logging
import queue
import re
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from reasoning_bank.monitoring.statements import Statement, listening
from reasoning_bank.storage import Database, facts, memories

from .samples import memory, moment, stored

WAIT_S = 20.0
SECRET = "a private value"
Observed = list[tuple[str, float, bool]]


@contextmanager
def opened(path: Path, **options: float) -> Generator[tuple[Database, Observed]]:
    observed: Observed = []

    def observe(name: str, seconds: float, failed: bool) -> None:
        observed.append((name, seconds, failed))

    database = Database(path, durability="process", observe=observe, now=moment, **options)  # pyright: ignore[reportArgumentType]
    with closing(database):
        database.open()
        database.read_now(lambda _: None)  # SQLAlchemy looks at the first connection with statements of its own
        observed.clear()
        yield database, observed


def names(observed: Observed) -> set[str]:
    return {name for name, _, _ in observed}


def test_reads_writes_and_commits_are_timed_and_failures_told(path: Path) -> None:
    with opened(path) as (database, observed):
        database.write_now(lambda c: facts.put(c, "a", "x"))
        assert names(observed) == {"sql.write", "sql.commit"}
        database.read_now(lambda c: facts.get(c, "a"))
        asyncio.run(database.read(lambda c: facts.get(c, "a")))
        assert sum(name == "sql.read" for name, _, _ in observed) == 2
        assert not any(failed for _, _, failed in observed)

        def fails(_: Connection) -> None:
            raise ValueError("of the caller")

        for call in (database.read_now, database.write_now):
            with pytest.raises(ValueError, match="of the caller"):
                call(fails)
        assert {name for name, _, failed in observed if failed} == {"sql.read", "sql.write"}
        assert all(seconds >= 0 for _, seconds, _ in observed)


def test_a_listener_hears_what_its_block_executes_wherever_that_runs_and_nothing_else(path: Path) -> None:
    seen: list[Statement] = []
    with opened(path) as (database, _):

        async def both() -> None:
            async with asyncio.TaskGroup() as tasks:
                for name in ("a", "b"):
                    tasks.create_task(database.write(lambda c, n=name: facts.put(c, n, "x")))
            await database.read(lambda c: facts.get(c, "a"))

        with listening(seen.append):
            asyncio.run(both())
        heard = [statement.sql.split()[0] for statement in seen]
        assert sorted(heard) == ["INSERT", "INSERT", "SELECT"]
        assert [statement.rows for statement in seen] == [1, 1, 1]
        database.write_now(lambda c: facts.put(c, "c", "x"))
        assert len(seen) == 3


def test_rows_that_are_found_while_they_are_fetched_count_as_time_of_their_statement(path: Path) -> None:
    """SQLite executes nothing of this before the first row is fetched."""
    counted = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT i FROM n"
    seen: list[Statement] = []
    with opened(path) as (database, _), listening(seen.append):
        rows = database.read_now(lambda c: sum(1 for _ in c.execute(text(counted))))
        first = database.read_now(lambda c: c.execute(text(counted)).first())
    assert (rows, first) == (300_000, (1,))
    whole, one = seen
    assert (whole.rows, one.rows) == (300_000, 1)
    assert whole.seconds > one.seconds


def test_a_slow_statement_is_logged_with_its_plan_and_without_its_values(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(path, slow_s=0.0) as (database, _):
        stored(database, memory("m1"))
        with caplog.at_level(logging.INFO, "reasoning_bank.storage.statements"):
            for ids in ([SECRET], [SECRET, "m1"], [SECRET, "m1", "m2"]):
                database.read_now(lambda c, i=ids: memories.by_ids(c, "w", i))
        slow = database.slow_statements()
        statistics = database.statistics()
    read = re.compile(
        r"slow statement: \d+ ms, \d+ rows: SELECT memories.seq, memories.workspace.* IN (.*); plan: SEARCH"
    )
    mine = [found[1] for record in caplog.records if (found := read.match(record.getMessage()))]
    assert sorted(mine) == ["(?)", "(?, …)"], "once for one value and once for lists of any length"
    assert SECRET not in caplog.text
    assert statistics.slow >= 3
    assert {each.at for each in slow} == {moment()}
    assert [each.seconds for each in slow] == sorted((each.seconds for each in slow), reverse=True)
    assert all(each.plan for each in slow if each.sql.startswith("SELECT"))


def test_statements_that_are_quick_are_not_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(path, slow_s=60) as (database, _), caplog.at_level(logging.INFO, "reasoning_bank.storage.statements"):
        database.write_now(lambda c: facts.put(c, "a", SECRET))
        assert database.slow_statements() == ()
        assert database.statistics().slow == 0
    assert not caplog.records


def test_writes_that_wait_share_a_commit_up_to_the_largest_group(path: Path) -> None:
    with opened(path, group=20) as (database, observed):
        begun, may_end = threading.Event(), threading.Event()

        def blocks(_: Connection) -> None:
            begun.set()
            assert may_end.wait(WAIT_S)

        writer = database._ready().writer
        first = writer.submit(blocks)
        assert begun.wait(WAIT_S)
        waiting = [writer.submit(lambda c, n=number: facts.put(c, f"n{n}", "x")) for number in range(50)]
        assert database.statistics().writer.waiting == 50
        may_end.set()
        for done in (first, *waiting):
            done.result(WAIT_S)
        statistics = database.statistics().writer
    assert (statistics.writes, statistics.commits, statistics.largest_group) == (51, 4, 20)
    assert statistics.mean_group == 51 / 4
    assert statistics.rows == 50
    assert sum(name == "sql.commit" for name, _, _ in observed) == 4


def test_a_write_that_nobody_waits_for_shares_the_commit_of_the_next_one(path: Path) -> None:
    with opened(path, linger_s=3600) as (database, _):
        writer = database._ready().writer
        patient = [writer.submit(lambda c, n=n: facts.put(c, f"p{n}", "x"), may_linger=True) for n in range(3)]
        assert not any(done.done() for done in patient), "not acknowledged before it is durable"
        database.write_now(lambda c: facts.put(c, "urgent", "x"))
        for done in patient:
            done.result(WAIT_S)
        statistics = database.statistics().writer
        assert (statistics.writes, statistics.commits) == (4, 1)


def test_lingering_ends_by_itself_and_with_the_bank(path: Path) -> None:
    with opened(path, linger_s=0.01) as (database, _):
        database._ready().writer.submit(lambda c: facts.put(c, "a", "x"), may_linger=True).result(WAIT_S)
    with opened(path, linger_s=3600) as (database, _):
        late = database._ready().writer.submit(lambda c: facts.put(c, "b", "x"), may_linger=True)
    assert late.result(0) is None
    with opened(path) as (database, _):
        assert database.read_now(lambda c: (facts.get(c, "a"), facts.get(c, "b"))) == ("x", "x")


def test_readers_tell_how_many_are_busy_opened_and_waited_for(path: Path) -> None:
    with opened(path, readers=2) as (database, _):
        inside: queue.SimpleQueue[None] = queue.SimpleQueue()
        may_end = threading.Event()

        def reads(_: Connection) -> None:
            inside.put(None)
            assert may_end.wait(WAIT_S)

        threads = [threading.Thread(target=database.read_now, args=(reads,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in threads:
            inside.get(timeout=WAIT_S)
        busy = database.statistics().readers
        assert (busy.in_use, busy.opened, busy.above_kept, busy.waits) == (3, 3, 1, 0), busy
        may_end.set()
        for thread in threads:
            thread.join(WAIT_S)
        may_end.clear()

        async def three() -> None:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(3):
                    tasks.create_task(database.read(reads))
                while database.statistics().readers.in_use < 2:  # noqa: ASYNC110 -- threads signal no coroutine
                    await asyncio.sleep(0.01)
                may_end.set()

        asyncio.run(three())
        idle = database.statistics().readers
    assert (idle.in_use, idle.opened, idle.waits) == (0, 3, 1)
