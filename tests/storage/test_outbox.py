"""Queued work: leased, renewed, taken over, tried again, given up; whatever the clock does."""

from datetime import datetime, timedelta

import pytest

from reasoning_bank.errors import BusyError
from reasoning_bank.storage import Database, outbox
from reasoning_bank.storage.outbox import Counts, OutboxRow

from .samples import moment


class Bench:
    """An outbox with a clock that is set by hand."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = moment()

    def tick(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def enqueue(
        self,
        *payloads: str,
        kind: str = "embed",
        run_after: datetime | None = None,
        priority: int = outbox.FRESH,
    ) -> None:
        self.database.write_now(
            lambda conn: outbox.enqueue(
                conn, "w", kind, *payloads, now=self.now, run_after=run_after, priority=priority
            )
        )

    def claim(self, owner: str = "me", *, limit: int = 10, kind: str = "embed") -> list[OutboxRow]:
        waiting = self.database.read_now(lambda conn: outbox.is_waiting(conn, now=self.now, kinds=[kind]))
        rows = self.database.write_now(lambda conn: outbox.claim(conn, owner, kind, now=self.now, limit=limit))
        assert waiting == bool(rows), "a look must tell what a claim would find"
        return rows

    def names(self, owner: str = "me", **options: object) -> list[object]:
        return [row.payload for row in self.claim(owner, **options)]  # pyright: ignore[reportArgumentType]

    def fail(self, rows: list[OutboxRow], owner: str = "me", jitter: float = 1.0) -> int:
        seqs = [row.seq for row in rows]
        return self.database.write_now(
            lambda conn: outbox.fail(conn, owner, seqs, "boom", now=self.now, jitter=lambda: jitter)
        )

    def finish(self, rows: list[OutboxRow], owner: str = "me") -> int:
        return self.database.write_now(lambda conn: outbox.finish(conn, owner, [row.seq for row in rows]))

    def counts(self) -> Counts:
        return self.database.read_now(lambda conn: outbox.counts(conn, now=self.now))


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def test_work_is_claimed_in_order_once_and_gone_when_finished(bench: Bench) -> None:
    bench.enqueue("a", "b", "c")
    first = bench.claim(limit=2)
    assert [(row.payload, row.attempts, row.workspace) for row in first] == [("a", 1, "w"), ("b", 1, "w")]
    assert bench.names("you") == ["c"]
    assert bench.claim() == []
    assert bench.counts() == Counts(pending=0, leased=3, dead=0, oldest=moment())
    assert bench.finish(first) == 2
    assert bench.counts() == Counts(pending=0, leased=1, dead=0, oldest=moment())


def test_a_claim_is_of_one_kind(bench: Bench) -> None:
    bench.enqueue("a", kind="index")
    bench.enqueue("b")
    bench.enqueue("c", kind="index")
    assert bench.names(kind="index") == ["a", "c"]
    assert bench.names() == ["b"]
    assert bench.names(kind="index") == []


def test_what_a_caller_waits_for_goes_first_and_what_an_import_queued_last(bench: Bench) -> None:
    bench.enqueue("imported 1", "imported 2", priority=outbox.BULK)
    bench.enqueue("stored 1")
    bench.enqueue("awaited", priority=outbox.AWAITED)
    bench.enqueue("stored 2")
    assert bench.names(limit=2) == ["awaited", "stored 1"]
    assert bench.names() == ["stored 2", "imported 1", "imported 2"]


def test_bulk_work_is_refused_while_too_much_waits_and_given_up_work_does_not_count(bench: Bench) -> None:
    def look(most: int) -> None:
        bench.database.read_now(lambda conn: outbox.refuse_above(conn, most))

    bench.enqueue("a", "b", "c")
    look(3)
    with pytest.raises(
        BusyError, match="more than 2 pieces of background work wait; try again in 2 seconds"
    ) as refused:
        look(2)
    assert refused.value.retry_after_s == 2
    seqs = [row.seq for row in bench.claim(limit=1)]
    bench.database.write_now(
        lambda conn: outbox.fail(conn, "me", seqs, "boom", now=bench.now, jitter=float, max_attempts=1)
    )
    look(2)


def test_work_for_later_waits_for_its_time(bench: Bench) -> None:
    bench.enqueue("later", run_after=moment(10))
    bench.enqueue("now")
    assert bench.names() == ["now"]
    bench.tick(9.9)
    assert bench.names() == []
    bench.tick(0.1)
    assert bench.names() == ["later"]


def test_a_lease_that_runs_out_is_taken_over_and_the_old_owner_has_no_say(bench: Bench) -> None:
    bench.enqueue("a")
    mine = bench.claim("me")
    bench.tick(59)
    assert bench.names("you") == []
    bench.tick(1)
    (theirs,) = bench.claim("you")
    assert (theirs.payload, theirs.attempts) == ("a", 2)
    assert (bench.finish(mine, "me"), bench.fail(mine, "me")) == (0, 0)
    assert bench.counts().leased == 1
    assert bench.finish([theirs], "you") == 1


def test_a_heartbeat_keeps_a_lease_and_tells_when_it_was_lost(bench: Bench) -> None:
    bench.enqueue("a")
    seqs = [row.seq for row in bench.claim("me")]

    def beat() -> int:
        return bench.database.write_now(lambda conn: outbox.extend(conn, "me", seqs, now=bench.now))

    bench.tick(50)
    assert beat() == 1
    bench.tick(50)
    assert bench.names("you") == []
    bench.tick(10)
    assert bench.names("you") == ["a"]
    assert beat() == 0


def test_failures_back_off_doubling_and_the_fifth_is_the_last(bench: Bench) -> None:
    bench.enqueue("a")
    waits: list[float] = []
    for attempt in range(1, 6):
        (row,) = bench.claim()
        assert row.attempts == attempt
        assert bench.fail([row]) == (attempt == 5)
        waits.append(0)
        while attempt < 5 and not bench.database.read_now(
            lambda conn: outbox.is_waiting(conn, now=bench.now, kinds=["embed"])
        ):
            bench.tick(1)
            waits[-1] += 1
    assert waits == [2, 4, 8, 16, 0]
    assert bench.counts() == Counts(pending=0, leased=0, dead=1, oldest=None)
    (buried,) = bench.database.read_now(outbox.dead)
    assert (buried.payload, buried.last_error, buried.kind) == ("a", "boom", "embed")


def test_jitter_halves_a_wait_at_most(bench: Bench) -> None:
    bench.enqueue("a")
    bench.fail(bench.claim(), jitter=0.0)
    bench.tick(1)
    assert bench.names() == ["a"]


def test_work_that_kills_its_process_each_time_is_given_up(bench: Bench) -> None:
    bench.enqueue("poison")
    for attempt in range(1, 6):
        (row,) = bench.claim(f"process {attempt}")
        assert row.attempts == attempt
        bench.tick(60)
    assert bench.database.write_now(lambda conn: outbox.claim(conn, "p6", "embed", now=bench.now)) == []
    (buried,) = bench.database.read_now(outbox.dead)
    assert "ended each time" in buried.last_error


def test_dead_work_can_be_tried_again_with_all_its_attempts(bench: Bench) -> None:
    bench.enqueue("a")
    for _ in range(5):
        bench.fail(bench.claim())
        bench.tick(400)
    assert bench.names() == []
    assert bench.database.write_now(outbox.requeue_dead) == 1
    (row,) = bench.claim()
    assert row.attempts == 1


def test_work_given_back_without_blame_counts_no_attempt(bench: Bench) -> None:
    bench.enqueue("a")
    for _ in range(8):
        seqs = [row.seq for row in bench.claim()]
        assert bench.database.write_now(lambda conn, seqs=seqs: outbox.release(conn, "me", seqs)) == 1
    (row,) = bench.claim()
    assert row.attempts == 1
    later = moment(30)
    bench.database.write_now(
        lambda conn: outbox.postpone(conn, "me", [row.seq], "no model", until=later, now=bench.now)
    )
    assert bench.names() == []
    bench.tick(30)
    (again,) = bench.claim()
    assert again.attempts == 1


def test_a_clock_that_is_set_back_stops_nothing(bench: Bench) -> None:
    """Leases and waits are wall-clock moments: after a jump of an hour they would last an hour."""
    bench.enqueue("leased", "failed", "fresh")
    leased, failed = bench.claim(limit=1), bench.claim(limit=1)
    bench.fail(failed)
    bench.tick(-3600)
    assert bench.names("you") == ["leased", "failed", "fresh"]
    assert leased[0].payload == "leased"
    bench.enqueue("queued after the jump")
    assert bench.names("you") == ["queued after the jump"]
    assert bench.counts().oldest == moment(-3600)


def test_a_clock_that_is_set_back_a_little_keeps_leases(bench: Bench) -> None:
    bench.enqueue("a")
    bench.claim("me")
    bench.tick(-5)
    assert bench.names("you") == []


def test_work_meant_for_tomorrow_is_not_taken_for_a_clock_jump(bench: Bench) -> None:
    bench.enqueue("tomorrow", run_after=moment(86_400))
    assert bench.names() == []
    bench.tick(86_400)
    assert bench.names() == ["tomorrow"]


def test_counts_can_be_asked_of_one_kind(bench: Bench) -> None:
    bench.enqueue("a", "b")
    bench.enqueue("c", kind="index")
    bench.claim(limit=1)

    def counts(kind: str | None) -> tuple[int, int]:
        found = bench.database.read_now(lambda conn: outbox.counts(conn, now=bench.now, kind=kind))
        return found.pending, found.leased

    assert (counts(None), counts("embed"), counts("index"), counts("other")) == ((2, 1), (1, 1), (1, 0), (0, 0))
