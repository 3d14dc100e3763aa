"""Forgets everything that came by one way: what a client sent that was taken over, or a file that was no good.

Softly, a little at a time. What a purged memory had taken in or overruled, and that came by another way, holds again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from reasoning_bank.errors import InputError
from reasoning_bank.learning.answers import remember, remembered
from reasoning_bank.learning.contradiction import reconsider
from reasoning_bank.learning.work import DISTIL, EMBED, looked_at, promise
from reasoning_bank.storage import history, memories
from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.schema import memories as table
from reasoning_bank.storage.schema import outbox, traces
from reasoning_bank.storage.traces import claim_key

BATCH: Final = 200
"""Memories forgotten, or brought back, in one transaction."""


@dataclass(frozen=True, slots=True)
class Way:
    """By what way traces came: those that fit everything that is given; see `records.Source`.

    Attributes:
        client: its name, or its name and version.
        token: id of the access token.
    """

    kind: str | None = None
    client: str | None = None
    token: str | None = None

    def __post_init__(self) -> None:
        """Refuse a way that would be every way."""
        if not any((self.kind, self.client, self.token)):
            raise InputError("say what to purge: a kind, a client or a token")

    def __str__(self) -> str:
        """What it is, in words."""
        parts = (("kind", self.kind), ("client", self.client), ("token", self.token))
        return ", ".join(f"{name} {value}" for name, value in parts if value)


@dataclass(frozen=True, slots=True)
class Purgeable:
    """A memory whose words came by the way that is purged."""

    id: str
    title: str
    kind: str
    client: str | None
    token: str | None


def purgeable(connection: Connection, workspace: str, way: Way, *, most: int | None = BATCH) -> list[Purgeable]:
    """What would be forgotten, in the order it was stored, at most so many; None for all."""
    columns = (table.c.id, table.c.title, table.c.text)
    source = (traces.c.source_kind, traces.c.source_client, traces.c.source_token)
    mine = (table.c.workspace == workspace) & table.c.deleted_at.is_(None)
    statement = select(*columns, *source).join(traces, _ITS_TRACE).where(mine, _came(way))
    rows = connection.execute(statement.order_by(table.c.seq).limit(most))
    return [
        Purgeable(row.id, row.title or row.text[:80], row.source_kind, row.source_client, row.source_token)
        for row in rows
    ]


def purge_some(connection: Connection, workspace: str, way: Way, *, now: datetime) -> list[str]:
    """Forgets the next batch of what `purgeable` lists; its ids, none when nothing is left."""
    chosen = [each.id for each in purgeable(connection, workspace, way)]
    gone = memories.soft_delete(connection, workspace, chosen, now)
    history.note(connection, workspace, gone, "purged", reason=str(way), now=now)
    _release(connection, workspace, gone, way, now=now)
    return gone


def call_off(connection: Connection, workspace: str, way: Way, *, now: datetime) -> None:
    """Lets no language model look at the traces that came by a way, queued or under way: it would learn them again."""
    queued = select(outbox.c.payload).where(outbox.c.workspace == workspace, outbox.c.kind == DISTIL)
    payloads = [json.loads(payload) for payload in connection.scalars(queued)]
    keys: dict[str, str] = {payload["trace_id"]: payload["key"] for payload in payloads}
    for some in batches(keys):
        came = select(traces.c.id).where(traces.c.workspace == workspace, traces.c.id.in_(some), _came(way))
        for trace_id in connection.scalars(came):
            claim_key(connection, workspace, looked_at(trace_id), "", trace_id, now=now)
            if answer := remembered(connection, workspace, keys[trace_id]):
                remember(connection, workspace, replace(answer, queued=False))


def purged_since(connection: Connection, workspace: str, since: datetime) -> list[str]:
    """The memories that were purged since a moment."""
    entries = history.latest(connection, workspace, "purged", limit=1_000_000)
    return [each.memory_id for each in entries if each.at >= since]


def bring_back(connection: Connection, workspace: str, ids: Sequence[str], *, now: datetime) -> list[str]:
    """Brings purged memories back, at most `BATCH` in one transaction; the ids that were forgotten."""
    back = memories.undelete(connection, workspace, ids, now)
    promise(connection, workspace, EMBED, back, now=now)
    for id_ in back:
        reconsider(connection, workspace, id_, now=now)
    return back


def _release(connection: Connection, workspace: str, gone: Sequence[str], way: Way, *, now: datetime) -> None:
    """Puts in force again what purged memories stood for, or had overruled, unless that came by the same way."""
    columns = (table.c.seq, table.c.id, table.c.superseded_by, _came(way).label("same"))
    replaced = (table.c.workspace == workspace) & table.c.superseded_by.in_(gone)
    # Sorted here: asked for an order, SQLite reads the whole workspace in it instead of looking up a few.
    rows = sorted(
        connection.execute(select(*columns).outerjoin(traces, _ITS_TRACE).where(replaced)), key=lambda row: row.seq
    )
    stood_for: dict[str, list[str]] = {}
    for row in rows:
        if not row.same:
            stood_for.setdefault(row.superseded_by, []).append(row.id)
    for by, ids in stood_for.items():
        back = memories.reinstate(connection, workspace, ids, by, now)
        reason = "what stood for it was purged"
        history.note(connection, workspace, back, "reinstated", reason=reason, now=now, change=(by, None))
        promise(connection, workspace, EMBED, back, now=now)


def _came(way: Way) -> ColumnElement[bool]:
    fits: Sequence[ColumnElement[bool]] = [
        column == value
        for column, value in ((traces.c.source_kind, way.kind), (traces.c.source_token, way.token))
        if value is not None
    ]
    if way.client is not None:
        named = traces.c.source_client.startswith(f"{way.client}/", autoescape=True)
        fits = [*fits, or_(traces.c.source_client == way.client, named)]
    return and_(*fits)


_ITS_TRACE = and_(traces.c.workspace == table.c.workspace, traces.c.id == table.c.trace_id)
