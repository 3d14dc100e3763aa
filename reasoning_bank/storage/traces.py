"""Traces with their complete trajectory, and the keys that make storing one twice the same as once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, Row, Text, and_, bindparam, func, select, text, update
from sqlalchemy import insert as insert_into
from sqlalchemy.dialects.sqlite import insert as insert_unless

from reasoning_bank.records import JUDGED_FROM, JsonValue, NewTrace, Outcome, Source, Trace
from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.memory_rows import dumped, loaded, loaded_mapping, loaded_time, loaded_words
from reasoning_bank.storage.schema import BEGINNING, idempotency_keys, judgements, traces
from reasoning_bank.storage.timestamps import from_micros, to_micros


@dataclass(frozen=True, slots=True)
class NumberedTrace:
    """A trace with its place in the order of storing; pages go on after the last `seq`."""

    seq: int
    trace: Trace


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What an idempotency key stands for.

    Attributes:
        body_hash: sha256 hex of the call it came with; another call under the same key is an error.
        answer: what was answered, to be answered again; None while the first call is unfinished.
    """

    trace_id: str
    body_hash: str
    answer: Mapping[str, JsonValue] | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Ending:
    """A task and how it ended, as the assistant said, else as it was judged where that is sure."""

    task: str
    outcome: Outcome
    domain: str | None
    at: datetime


def insert(connection: Connection, *new: Trace) -> None:
    """Stores traces; their workspaces must be there and their ids new.

    Raises:
        sqlalchemy.exc.IntegrityError: for an id that is there already, or an unknown workspace.
    """
    if new:
        connection.execute(_INSERT, [_values(trace) for trace in new])


def endings(connection: Connection, workspace: str, ids: Iterable[str]) -> dict[str, Ending]:
    """How the tasks of these traces ended; unknown ids are absent. Reads no trajectory."""
    found: dict[str, Ending] = {}
    for some in batches(ids):
        for row in connection.execute(_ENDINGS.where(traces.c.workspace == workspace, traces.c.id.in_(some))):
            found[row.id] = _ending(row)
    return found


def all_endings(connection: Connection, workspace: str) -> list[Ending]:
    """How every task of a workspace ended, in the order they were stored. Reads no trajectory."""
    statement = _ENDINGS.where(traces.c.workspace == workspace).order_by(traces.c.seq)
    return [_ending(row) for row in connection.execute(statement)]


def by_id(connection: Connection, workspace: str, id_: str) -> Trace | None:
    """The trace of an id in this workspace, or None."""
    return by_ids(connection, workspace, [id_]).get(id_)


def by_ids(connection: Connection, workspace: str, ids: Iterable[str]) -> dict[str, Trace]:
    """The traces of these ids in this workspace; unknown ids are absent."""
    found: dict[str, Trace] = {}
    for some in batches(ids):
        for row in connection.execute(_BY_IDS, {"workspace": workspace, "ids": some}):
            found[row.id] = _read(row)
    return found


def existing_ids(connection: Connection, workspace: str, ids: Iterable[str]) -> set[str]:
    """Those of the ids that are stored in this workspace; reads no trajectory."""
    found: set[str] = set()
    for some in batches(ids):
        statement = select(traces.c.id).where(traces.c.workspace == workspace, traces.c.id.in_(some))
        found.update(connection.scalars(statement))
    return found


def same_task(connection: Connection, workspace: str, trace: Trace, *, limit: int) -> list[Trace]:
    """The latest other traces of the same task, but for upper case and blanks around it."""
    mine = {"workspace": workspace, "task": trace.report.task, "id": trace.id, "limit": limit}
    ids = list(connection.scalars(_SAME_TASK, mine))
    return list(by_ids(connection, workspace, ids).values())


def list_page(connection: Connection, workspace: str, *, after: int = 0, limit: int = 100) -> list[NumberedTrace]:
    """The next traces of a workspace in the order they were stored."""
    statement = select(traces).where(traces.c.workspace == workspace, traces.c.seq > after)
    rows = connection.execute(statement.order_by(traces.c.seq).limit(limit))
    return [NumberedTrace(row.seq, _read(row)) for row in rows]


def claim_key(
    connection: Connection, workspace: str, key: str, body_hash: str, trace_id: str, *, now: datetime
) -> bool:
    """Takes an idempotency key for a call; False when it is taken (see `find_key`)."""
    row = {"workspace": workspace, "key": key, "body_hash": body_hash, "trace_id": trace_id}
    return connection.execute(_CLAIM_KEY, row | {"created_at": to_micros(now)}).rowcount == 1


def find_key(connection: Connection, workspace: str, key: str) -> StoredKey | None:
    """What a key stands for, or None."""
    row = connection.execute(_KEY, {"workspace": workspace, "key": key}).one_or_none()
    if row is None:
        return None
    answer = None if row.answer is None else loaded_mapping(row.answer)
    return StoredKey(row.trace_id, row.body_hash, answer, from_micros(row.created_at))


def put_answer(
    connection: Connection,
    workspace: str,
    key: str,
    answer: Mapping[str, JsonValue],
    *,
    body_hash: str | None = None,
) -> None:
    """Keeps the answer of a key, in the transaction that makes it true; a later answer replaces it.

    Args:
        body_hash: the call that is answered from now on, where a second call completed the first.
    """
    row = {"its_workspace": workspace, "its_key": key, "answer": dumped(dict(answer))}
    if body_hash is None:
        connection.execute(_PUT_ANSWER, row)
    else:
        connection.execute(_PUT_ANSWER_OF_ANOTHER_CALL, row | {"body_hash": body_hash})


def _values(trace: Trace) -> dict[str, Any]:
    report = trace.report
    return {
        "workspace": trace.workspace,
        "id": trace.id,
        "external_id": report.external_id,
        "outcome": report.outcome,
        "domain": report.domain,
        "session": report.session,
        "actor": report.actor,
        "time": dumped(report.time),
        "created_at": to_micros(trace.created_at),
        "content_hash": trace.content_hash,
        "tags": dumped(report.tags or None),
        "metadata": dumped(dict(report.metadata) or None),
        "task": report.task,
        "trajectory": dumped(report.trajectory),
        "source_kind": trace.source.kind,
        "source_client": trace.source.client,
        "source_token": trace.source.token,
    }


def _ending(row: Row[*tuple[Any, ...]]) -> Ending:
    outcome = row.outcome if row.outcome != "unknown" else row.judged or "unknown"
    return Ending(row.task, outcome, row.domain, from_micros(row.created_at))


def _read(row: Row[*tuple[Any, ...]]) -> Trace:
    report = NewTrace(
        task=row.task,
        outcome=row.outcome,
        trajectory=loaded(row.trajectory),
        tags=loaded_words(row.tags),
        domain=row.domain,
        external_id=row.external_id,
        session=row.session,
        actor=row.actor,
        time=loaded_time(row.time),
        metadata=loaded_mapping(row.metadata),
    )
    source = Source(row.source_kind or "unknown", row.source_client, row.source_token)
    return Trace(row.id, row.workspace, report, from_micros(row.created_at), row.content_hash, source)


_BY_IDS = select(traces).where(
    and_(traces.c.workspace == bindparam("workspace"), traces.c.id.in_(bindparam("ids", expanding=True)))
)
_KEY = select(idempotency_keys).where(
    idempotency_keys.c.workspace == bindparam("workspace"), idempotency_keys.c.key == bindparam("key")
)
_INSERT = insert_into(traces)
_CLAIM_KEY = insert_unless(idempotency_keys).on_conflict_do_nothing()
_ITS_KEY = and_(
    idempotency_keys.c.workspace == bindparam("its_workspace"), idempotency_keys.c.key == bindparam("its_key")
)
_PUT_ANSWER = update(idempotency_keys).where(_ITS_KEY).values(answer=bindparam("answer"))
_PUT_ANSWER_OF_ANOTHER_CALL = _PUT_ANSWER.values(body_hash=bindparam("body_hash"))
_SAME_TASK = (
    select(traces.c.id)
    .where(
        traces.c.workspace == bindparam("workspace"),
        # As the index has it; the rest of a long task is compared then.
        text(f"{BEGINNING} = {BEGINNING.replace('task', ':task')}"),
        func.lower(func.trim(traces.c.task)) == func.lower(func.trim(bindparam("task", type_=Text))),
        traces.c.id != bindparam("id"),
    )
    .order_by(traces.c.seq.desc())
    .limit(bindparam("limit", type_=Integer))
)
_TOLD = (traces.c.id, traces.c.task, traces.c.outcome, traces.c.domain, traces.c.created_at)
_ENDINGS = select(*_TOLD, judgements.c.outcome.label("judged")).outerjoin(
    judgements,
    and_(
        judgements.c.workspace == traces.c.workspace,
        judgements.c.trace_id == traces.c.id,
        judgements.c.confidence >= JUDGED_FROM,
    ),
)
