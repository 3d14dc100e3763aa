"""Work promised in the transaction that caused it, done later by whichever process has the lease.

Rows are leased, not removed, so a killed process loses nothing: the lease runs out and the next one takes over.
Moments are wall-clock, because processes must agree on them; a clock that was set back is noticed by moments that
lie further ahead than anything here plans.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, or_, select, update
from sqlalchemy import insert as insert_into

from reasoning_bank.errors import BusyError
from reasoning_bank.records import JsonValue
from reasoning_bank.storage.memory_rows import dumped, loaded
from reasoning_bank.storage.schema import outbox
from reasoning_bank.storage.timestamps import from_micros, to_micros

MAX_ATTEMPTS = 5
BULK = -1
"""Priority of what an import queues: everything else goes first."""
FRESH = 0
"""Priority of what an assistant has just stored."""
AWAITED = 1
"""Priority of what a caller waits for."""
_LONGEST_BACKOFF_S = 300.0
# Leases are about a minute long: one that ends later than this was written before the clock was set back.
_SURELY_A_CLOCK_JUMP = timedelta(minutes=10)
_LONGEST_ERROR_TEXT = 500
# Some dozen pieces are done meanwhile, each of several memories.
_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One piece of queued work.

    Attributes:
        attempts: how often it was begun, this time included.
    """

    seq: int
    workspace: str
    kind: str
    payload: JsonValue
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeadRow:
    """Work that was given up, with the error of its last attempt."""

    seq: int
    workspace: str
    kind: str
    payload: JsonValue
    last_error: str
    dead_at: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """How much work waits (`pending`), is under way (`leased`), was given up (`dead`); `oldest` of the first two."""

    pending: int
    leased: int
    dead: int
    oldest: datetime | None


def enqueue(
    connection: Connection,
    workspace: str,
    kind: str,
    *payloads: JsonValue,
    now: datetime,
    run_after: datetime | None = None,
    priority: int = FRESH,
) -> None:
    """Queues pieces of work. Without `run_after` they may begin at once, whatever becomes of the clock."""
    row = {
        "workspace": workspace,
        "kind": kind,
        "run_after": to_micros(run_after) if run_after else 0,
        "scheduled_at": to_micros(now),
        "created_at": to_micros(now),
        "priority": priority,
    }
    if payloads:
        connection.execute(_INSERT, [row | {"payload": dumped(payload) or "null"} for payload in payloads])


def claim(
    connection: Connection,
    owner: str,
    kind: str,
    *,
    now: datetime,
    lease_s: float = 60.0,
    limit: int = 32,
    max_attempts: int = MAX_ATTEMPTS,
) -> list[OutboxRow]:
    """Leases the due work of a kind that goes first, in order: by priority, then the oldest.

    Work whose lease ran out for the last time (it killed its process, perhaps) is given up here.
    """
    _bury_abandoned(connection, now, max_attempts)
    due = and_(outbox.c.dead_at.is_(None), _is_free(now), _is_due(now), outbox.c.kind == kind)
    first = select(outbox.c.seq).where(due).order_by(*_IN_ORDER).limit(limit)
    leased = (
        update(outbox)
        .where(outbox.c.seq.in_(first))
        .values(
            lease_owner=owner,
            lease_until=to_micros(now + timedelta(seconds=lease_s)),
            attempts=outbox.c.attempts + 1,
        )
        .returning(outbox)
    )
    rows = sorted(connection.execute(leased), key=lambda row: (-row.priority, row.seq))
    return [
        OutboxRow(row.seq, row.workspace, row.kind, loaded(row.payload), row.attempts, from_micros(row.created_at))
        for row in rows
    ]


def is_waiting(connection: Connection, *, now: datetime, kinds: Sequence[str]) -> bool:
    """Whether `claim` would find work; reads only, so that an idle process writes nothing."""
    due = and_(outbox.c.dead_at.is_(None), _is_free(now), _is_due(now), outbox.c.kind.in_(kinds))
    return connection.scalar(select(outbox.c.seq).where(due).limit(1)) is not None


def is_under_way(connection: Connection, *, now: datetime, kinds: Sequence[str]) -> bool:
    """Whether somebody works on these kinds."""
    leased = and_(outbox.c.lease_owner.is_not(None), ~_is_free(now), outbox.c.kind.in_(kinds))
    return connection.scalar(select(outbox.c.seq).where(leased).limit(1)) is not None


def refuse_above(connection: Connection, most: int) -> None:
    """Raise BusyError while more than `most` pieces of work wait: for bulk work only, never for what is fresh."""
    beyond = select(outbox.c.seq).where(outbox.c.dead_at.is_(None)).offset(most).limit(1)
    if connection.scalar(beyond) is not None:
        raise BusyError(
            f"more than {most} pieces of background work wait; try again in {_PAUSE_S:.0f} seconds",
            retry_after_s=_PAUSE_S,
        )


def extend(connection: Connection, owner: str, seqs: Sequence[int], *, now: datetime, lease_s: float = 60.0) -> int:
    """Renews leases (the heartbeat); how many the owner still holds."""
    until = to_micros(now + timedelta(seconds=lease_s))
    return connection.execute(update(outbox).where(_held(owner, seqs)).values(lease_until=until)).rowcount


def finish(connection: Connection, owner: str, seqs: Sequence[int]) -> int:
    """Removes work that is done; rows that another owner took over meanwhile stay with it."""
    return connection.execute(delete(outbox).where(_held(owner, seqs))).rowcount


def fail(
    connection: Connection,
    owner: str,
    seqs: Sequence[int],
    error: str,
    *,
    now: datetime,
    jitter: Callable[[], float],
    max_attempts: int = MAX_ATTEMPTS,
) -> int:
    """Gives work back after an error: to be tried again in about 2, 4, 8 … seconds, or given up.

    Args:
        jitter: uniform in 0..1; a wait is between half and all of its length, so that processes spread out.

    Returns:
        How many rows are given up now.
    """
    found = connection.execute(select(outbox.c.seq, outbox.c.attempts).where(_held(owner, seqs))).all()
    moment = to_micros(now)
    rows: list[dict[str, Any]] = []
    for seq, attempts in found:
        wait_s = min(_LONGEST_BACKOFF_S, 2.0**attempts) * (0.5 + 0.5 * jitter())
        again = to_micros(now + timedelta(seconds=wait_s))
        rows.append({"its_seq": seq, "run_after": again, "dead_at": moment if attempts >= max_attempts else None})
    if rows:
        same = {"last_error": error[:_LONGEST_ERROR_TEXT], "scheduled_at": moment}
        connection.execute(_FAIL, [row | same for row in rows])
    return sum(row["dead_at"] is not None for row in rows)


def postpone(
    connection: Connection, owner: str, seqs: Sequence[int], reason: str, *, until: datetime, now: datetime
) -> int:
    """Gives work back that could not be begun yet (a model is missing, say): the attempt does not count."""
    values = {
        "lease_owner": None,
        "lease_until": None,
        "attempts": outbox.c.attempts - 1,
        "last_error": reason[:_LONGEST_ERROR_TEXT],
        "run_after": to_micros(until),
        "scheduled_at": to_micros(now),
    }
    return connection.execute(update(outbox).where(_held(owner, seqs)).values(values)).rowcount


def release(connection: Connection, owner: str, seqs: Sequence[int]) -> int:
    """Gives unfinished work back without blame, as when the process is about to exit."""
    values = {"lease_owner": None, "lease_until": None, "attempts": outbox.c.attempts - 1}
    return connection.execute(update(outbox).where(_held(owner, seqs)).values(values)).rowcount


def requeue_dead(connection: Connection) -> int:
    """Tries work that was given up once more, with all its attempts; how many rows."""
    again = update(outbox).where(outbox.c.dead_at.is_not(None)).values(dead_at=None, attempts=0, run_after=0)
    return connection.execute(again).rowcount


def dead(connection: Connection, limit: int = 100) -> list[DeadRow]:
    """Work that was given up, latest first."""
    statement = select(outbox).where(outbox.c.dead_at.is_not(None)).order_by(outbox.c.dead_at.desc()).limit(limit)
    return [
        DeadRow(row.seq, row.workspace, row.kind, loaded(row.payload), row.last_error or "", from_micros(row.dead_at))
        for row in connection.execute(statement)
    ]


def counts(connection: Connection, *, now: datetime, kind: str | None = None) -> Counts:
    """How much work there is, of all kinds unless one is named."""
    of_kind = () if kind is None else (outbox.c.kind == kind,)
    alive = (outbox.c.dead_at.is_(None), *of_kind)
    rows = select(func.count()).select_from(outbox)
    # Each from an index of its own: far fewer rows are under way or given up than wait.
    statement = select(
        rows.where(*alive).scalar_subquery(),
        rows.where(outbox.c.lease_owner.is_not(None), ~_is_free(now), *alive).scalar_subquery(),
        rows.where(outbox.c.dead_at.is_not(None), *of_kind).scalar_subquery(),
        select(outbox.c.created_at).where(*alive).order_by(outbox.c.seq).limit(1).scalar_subquery(),
    )
    alive_rows, leased, given_up, oldest = connection.execute(statement).one()
    # After a clock was set back, what was queued before it comes from the future.
    return Counts(alive_rows - leased, leased, given_up, None if oldest is None else min(from_micros(oldest), now))


def _bury_abandoned(connection: Connection, now: datetime, max_attempts: int) -> None:
    table = outbox
    worn_out = and_(
        table.c.dead_at.is_(None), table.c.attempts >= max_attempts, table.c.lease_owner.is_not(None), _is_free(now)
    )
    connection.execute(
        update(table)
        .where(worn_out)
        .values(
            dead_at=to_micros(now),
            lease_owner=None,
            lease_until=None,
            last_error=func.coalesce(table.c.last_error, "the process that worked on it ended each time"),
        )
    )


def _is_free(now: datetime) -> ColumnElement[bool]:
    moment, far = to_micros(now), to_micros(now + _SURELY_A_CLOCK_JUMP)
    return or_(outbox.c.lease_until.is_(None), outbox.c.lease_until <= moment, outbox.c.lease_until > far)


def _is_due(now: datetime) -> ColumnElement[bool]:
    moment, far = to_micros(now), to_micros(now + _SURELY_A_CLOCK_JUMP)
    return or_(outbox.c.run_after <= moment, outbox.c.scheduled_at > far)


def _held(owner: str, seqs: Sequence[int]) -> ColumnElement[bool]:
    return and_(outbox.c.lease_owner == owner, outbox.c.seq.in_(list(seqs)))


_INSERT = insert_into(outbox)
_FAIL = (
    update(outbox)
    .where(outbox.c.seq == bindparam("its_seq"))
    .values(
        lease_owner=None,
        lease_until=None,
        last_error=bindparam("last_error"),
        scheduled_at=bindparam("scheduled_at"),
        run_after=bindparam("run_after"),
        dead_at=bindparam("dead_at"),
    )
)
_IN_ORDER = (outbox.c.priority.desc(), outbox.c.seq)
