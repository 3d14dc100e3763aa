"""What an index of a workspace is built from: narrow rows, read fast, without the texts."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, or_, select
from sqlalchemy.dialects.sqlite import insert

from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.schema import memories, memory_terms
from reasoning_bank.storage.scope import is_searchable
from reasoning_bank.text.analyser import ANALYSER_VERSION, Terms

_ROWS_AT_ONCE = 2000


class IndexRow(NamedTuple):
    """What retrieval keeps of a memory in its picture of a workspace.

    A tuple, because 100,000 of them are made at once.

    Attributes:
        seq: the order in which memories were stored.
        live: neither forgotten nor superseded nor quarantined.
        occurred_at: seconds since 1970 UTC: the event time where it is a date, else when it was stored.
        dated: whether `occurred_at` says when it happened: an undated import was stored at any time later.
        position: place in its session, or None.
        valid_from, valid_to: microseconds since 1970 UTC, or None; valid while from <= now < to.
        analyser_version: which analyser made the terms.
        terms: `Terms.packed()`.
    """

    seq: int
    id: str
    live: bool
    outcome: str
    domain: str | None
    occurred_at: float
    dated: bool
    actor: str | None
    session: str | None
    position: int | None
    valid_from: int | None
    valid_to: int | None
    analyser_version: int
    terms: bytes


def load_for_index(connection: Connection, workspace: str, ids: Sequence[str] | None = None) -> Iterator[IndexRow]:
    """Rows of the live memories, or of these ids in any state (unknown ones absent), in the order they were stored."""
    if ids is None:
        mine = _SELECT.where(memories.c.workspace == workspace, _LIVE).order_by(memories.c.seq)
        for part in connection.execute(mine.execution_options(yield_per=_ROWS_AT_ONCE)).partitions():
            yield from map(IndexRow._make, part)
        return
    rows: list[IndexRow] = []
    for some in batches(ids):
        mine = _SELECT.where(memories.c.workspace == workspace, memories.c.id.in_(some))
        rows += map(IndexRow._make, connection.execute(mine))
    yield from sorted(rows)


def write_terms(connection: Connection, rows: Sequence[tuple[int, Terms | bytes]]) -> None:
    """Writes (seq of memory, terms), over what there was; the caller notes the change."""
    values = [
        {
            "memory": seq,
            "analyser_version": ANALYSER_VERSION,
            "terms": terms if isinstance(terms, bytes) else terms.packed(),
        }
        for seq, terms in rows
    ]
    if values:
        connection.execute(_WRITE, values)


_LIVE = is_searchable()
_SELECT = select(
    memories.c.seq,
    memories.c.id,
    _LIVE.label("live"),
    memories.c.outcome,
    memories.c.domain,
    memories.c.occurred_at,
    or_(memories.c.origin != "import", memories.c.occurred_at != memories.c.created_at / 1_000_000.0).label("dated"),
    memories.c.actor,
    memories.c.session,
    memories.c.position,
    memories.c.valid_from,
    memories.c.valid_to,
    memory_terms.c.analyser_version,
    memory_terms.c.terms,
).join(memory_terms, memory_terms.c.memory == memories.c.seq)
_WRITE = insert(memory_terms).prefix_with("OR REPLACE")
