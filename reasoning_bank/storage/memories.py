"""Memories: the rows of what was learned. Every change of one is noted in the change log, in the same transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, bindparam, delete, func, select
from sqlalchemy import insert as insert_into
from sqlalchemy import update as update_rows

from reasoning_bank.errors import NotFoundError
from reasoning_bank.records import Counters, Memory
from reasoning_bank.storage import changes, lineage
from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.index_rows import IndexRow, load_for_index, write_terms
from reasoning_bank.storage.memory_rows import item_values, memory_values, read_memory
from reasoning_bank.storage.schema import embeddings, memories, memory_parents, memory_tags, traces
from reasoning_bank.storage.scope import is_live, is_one_of, is_searchable, scoped_ids
from reasoning_bank.storage.timestamps import to_micros
from reasoning_bank.text.analyser import Terms

__all__ = [
    "IndexRow",
    "Numbered",
    "add_counters",
    "add_used",
    "by_content_hash",
    "by_ids",
    "existing_ids",
    "ids_of_trace",
    "insert",
    "is_live",
    "list_page",
    "load_for_index",
    "of_trace",
    "of_traces",
    "quarantined",
    "reinstate",
    "scoped_ids",
    "soft_delete",
    "supersede",
    "undelete",
    "update",
    "with_short_traces",
]


@dataclass(frozen=True, slots=True)
class Numbered:
    """A memory with its place in the order of storing; pages go on after the last `seq`."""

    seq: int
    memory: Memory


def insert(connection: Connection, new: Sequence[Memory], terms: Sequence[Terms | bytes]) -> None:
    """Stores memories of one workspace, each with its terms; their ids must be new, their trace stored.

    Terms may come packed: packing takes longer than storing, and need not hold the write lock.

    Raises:
        sqlalchemy.exc.IntegrityError: for an id that is there already (see `existing_ids`).
        InputError: for a position beyond 64 bits.
    """
    if not new:
        return
    workspace = _only_workspace(new)
    connection.execute(_INSERT, [memory_values(memory) for memory in new])
    numbers = _numbers(connection, workspace, [memory.id for memory in new])
    write_terms(connection, [(numbers[memory.id], its) for memory, its in zip(new, terms, strict=True)])
    _write_links(connection, [(numbers[memory.id], memory) for memory in new])
    changes.append(connection, workspace, numbers, "insert")


def by_ids(connection: Connection, workspace: str, ids: Iterable[str]) -> dict[str, Memory]:
    """The memories of these ids in this workspace, forgotten and superseded ones too; unknown ids are absent."""
    found: dict[str, Memory] = {}
    for some in batches(ids):
        for row in connection.execute(_BY_IDS, {"workspace": workspace, "ids": some}):
            found[row.id] = read_memory(row)
    for id_, against in lineage.contradictions(connection, workspace, found, live_only=True).items():
        found[id_] = replace(found[id_], contradicts=tuple(other for other, _ in against))
    return found


def existing_ids(connection: Connection, workspace: str, ids: Iterable[str]) -> set[str]:
    """Those of the ids that are stored in this workspace, in any state."""
    return set(_numbers(connection, workspace, ids))


def by_content_hash(connection: Connection, workspace: str, hashes: Iterable[str]) -> dict[str, str]:
    """Content hash to id of the oldest live memory that has it."""
    found = _ids_by(connection, memories.c.content_hash, workspace, hashes, is_live())
    return {content_hash: ids[0] for content_hash, ids in found.items()}


def of_trace(connection: Connection, workspace: str, trace_id: str) -> list[Memory]:
    """All memories of a trace in the order they were stored, forgotten ones too."""
    return [row.memory for row in _read(connection, _here(workspace).where(memories.c.trace_id == trace_id))]


def of_traces(connection: Connection, workspace: str, trace_ids: Iterable[str]) -> dict[str, list[Memory]]:
    """By trace, all its memories in the order they were stored, forgotten ones too; absent where it has none."""
    found: dict[str, list[Memory]] = {}
    for some in batches(trace_ids):
        # Sorted here: asked for an order, SQLite may read the whole workspace in it instead of looking up a few.
        mine = select(memories).where(memories.c.workspace == workspace, memories.c.trace_id.in_(some))
        for row in sorted(_read(connection, mine), key=lambda row: row.seq):
            found.setdefault(row.memory.trace_id, []).append(row.memory)
    return found


def ids_of_trace(connection: Connection, workspace: str, trace_id: str) -> list[str]:
    """The ids of `of_trace`: a trace may have thousands, of which few are read."""
    mine = select(memories.c.id).where(memories.c.workspace == workspace, memories.c.trace_id == trace_id)
    return list(connection.scalars(mine.order_by(memories.c.seq)))


def beside(connection: Connection, workspace: str, ids: Iterable[str]) -> list[str]:
    """Ids of what else can be found of the traces that taught these memories."""
    found: list[str] = []
    for some in batches(ids):
        mine = select(memories.c.trace_id).where(memories.c.workspace == workspace, memories.c.id.in_(some))
        others = (memories.c.workspace == workspace) & memories.c.trace_id.in_(mine) & memories.c.id.not_in(some)
        found += connection.scalars(select(memories.c.id).where(others, is_searchable()))
    return found


def with_short_traces(connection: Connection, workspace: str, ids: Iterable[str], *, most: int) -> set[str]:
    """Those of the ids whose trace has a trajectory of at most so many characters of JSON."""
    said = (traces.c.workspace == memories.c.workspace) & (traces.c.id == memories.c.trace_id)
    statement = (
        select(memories.c.id).join(traces, said).where(func.length(func.coalesce(traces.c.trajectory, "")) <= most)
    )
    found: set[str] = set()
    for some in batches(ids):
        found.update(connection.scalars(statement.where(memories.c.workspace == workspace, memories.c.id.in_(some))))
    return found


def list_page(
    connection: Connection, workspace: str, *, after: int = 0, limit: int = 100, live_only: bool = False
) -> list[Numbered]:
    """The next memories of a workspace in the order they were stored; forgotten ones too, unless `live_only`."""
    statement = _here(workspace).where(memories.c.seq > after)
    if live_only:
        statement = statement.where(is_live())
    return _read(connection, statement.limit(limit))


def quarantined(connection: Connection, workspace: str) -> list[Memory]:
    """The memories that are kept and never found, in the order they were stored."""
    mine = _here(workspace).where(is_live(), memories.c.trust == "quarantined")
    return [row.memory for row in _read(connection, mine)]


def update(connection: Connection, changed: Memory, terms: Terms) -> None:
    """Replaces the item, `updated_at`, content hash and `superseded_by` of a memory; counters and dates stay.

    Where the content hash differs its vectors are dropped, so that nothing is found by words it no longer has.

    Raises:
        NotFoundError: when this workspace has no such memory.
    """
    row = connection.execute(
        select(memories.c.seq, memories.c.content_hash).where(
            memories.c.workspace == changed.workspace, memories.c.id == changed.id
        )
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"no memory {changed.id!r} in this workspace")
    connection.execute(update_rows(memories).where(memories.c.seq == row.seq).values(item_values(changed)))
    if row.content_hash != changed.content_hash:
        connection.execute(delete(embeddings).where(embeddings.c.memory == row.seq))
    write_terms(connection, [(row.seq, terms)])
    for links in (memory_tags, memory_parents):
        connection.execute(delete(links).where(links.c.memory == row.seq))
    _write_links(connection, [(row.seq, changed)])
    changes.append(connection, changed.workspace, [changed.id], "update")


def soft_delete(connection: Connection, workspace: str, ids: Iterable[str], now: datetime) -> list[str]:
    """Forgets memories; the ids that were not forgotten before."""
    stamp = {"deleted_at": to_micros(now), "updated_at": to_micros(now)}
    return _change(connection, workspace, ids, "delete", memories.c.deleted_at.is_(None), stamp)


def undelete(connection: Connection, workspace: str, ids: Iterable[str], now: datetime) -> list[str]:
    """Takes a forgetting back; the ids that were forgotten."""
    stamp = {"deleted_at": None, "updated_at": to_micros(now)}
    return _change(connection, workspace, ids, "undelete", memories.c.deleted_at.is_not(None), stamp)


def supersede(
    connection: Connection, workspace: str, ids: Iterable[str], by: str, now: datetime, *, until: datetime | None = None
) -> list[str]:
    """Marks memories as replaced by another one; the ids that were not replaced before.

    They hold until now, or `until` (when the other one began to hold), unless they had ended before.
    """
    ends = to_micros(now if until is None else until)
    earlier = func.min(func.coalesce(memories.c.valid_to, ends), ends)
    stamp = {"superseded_by": by, "updated_at": to_micros(now), "valid_to": earlier}
    return _change(connection, workspace, ids, "update", memories.c.superseded_by.is_(None), stamp)


def reinstate(connection: Connection, workspace: str, ids: Iterable[str], by: str, now: datetime) -> list[str]:
    """Takes back that memories were replaced by one that no longer stands; the ids that hold again."""
    stamp = {"superseded_by": None, "valid_to": None, "updated_at": to_micros(now)}
    return _change(connection, workspace, ids, "update", memories.c.superseded_by == by, stamp)


def add_used(connection: Connection, workspace: str, ids: Iterable[str], times: int = 1) -> list[str]:
    """Counts so many uses of each memory; the ids there are.

    No change is noted: uses decide about no answer, and what is kept between searches need not be made anew.
    """
    return _updated(connection, workspace, ids, {"used": memories.c.used + times})


def add_counters(connection: Connection, workspace: str, id_: str, more: Counters) -> None:
    """Adds what is known of another memory to the counters of one that stands for it."""
    values = {name: memories.c[name] + count for name, count in asdict(more).items()}
    changed = _updated(connection, workspace, [id_], values)
    changes.append(connection, workspace, changed, "counters")


def _change(
    connection: Connection,
    workspace: str,
    ids: Iterable[str],
    op: changes.Op,
    only: ColumnElement[bool],
    values: dict[str, Any],
) -> list[str]:
    changed = _updated(connection, workspace, ids, values, only)
    changes.append(connection, workspace, changed, op)
    lineage.note_opponents(connection, workspace, changed)
    return changed


def _updated(
    connection: Connection,
    workspace: str,
    ids: Iterable[str],
    values: dict[str, Any],
    *only: ColumnElement[bool],
) -> list[str]:
    changed: list[str] = []
    for some in batches(ids):
        mine = (is_one_of(workspace, some), *only)
        changed += connection.scalars(update_rows(memories).where(*mine).values(values).returning(memories.c.id))
    return changed


def _only_workspace(new: Sequence[Memory]) -> str:
    names = {memory.workspace for memory in new}
    if len(names) != 1:
        raise ValueError(f"memories of one workspace are stored together, not of {sorted(names)}")
    return names.pop()


def _ids_by(
    connection: Connection, column: Column[str], workspace: str, values: Iterable[str], only: ColumnElement[bool]
) -> dict[str, list[str]]:
    rows: list[tuple[int, str, str]] = []
    for some in batches(values):
        # Sorted here: asked for an order, SQLite reads the whole workspace in that order instead of looking up a few.
        statement = select(memories.c.seq, column, memories.c.id).where(is_one_of(workspace, some, column.name), only)
        rows += connection.execute(statement)
    found: dict[str, list[str]] = {}
    for _, value, id_ in sorted(rows):
        found.setdefault(value, []).append(id_)
    return found


def _numbers(connection: Connection, workspace: str, ids: Iterable[str]) -> dict[str, int]:
    """Id to seq of those that are stored, in the order of the ids."""
    found: dict[str, int] = {}
    for some in batches(ids):
        rows = dict(connection.execute(_NUMBERS, {"workspace": workspace, "ids": some}).all())
        found |= {id_: rows[id_] for id_ in some if id_ in rows}
    return found


def _write_links(connection: Connection, rows: Sequence[tuple[int, Memory]]) -> None:
    tags = [
        {"workspace": memory.workspace, "tag": tag, "memory": number}
        for number, memory in rows
        for tag in {tag.casefold() for tag in memory.item.tags}
    ]
    parents = [
        {"workspace": memory.workspace, "parent_id": parent, "memory": number}
        for number, memory in rows
        for parent in set(memory.item.parents)
    ]
    if tags:
        connection.execute(_INSERT_TAGS, tags)
    if parents:
        connection.execute(_INSERT_PARENTS, parents)


def _here(workspace: str) -> Select[*tuple[Any, ...]]:
    return select(memories).where(memories.c.workspace == workspace).order_by(memories.c.seq)


def _read(connection: Connection, statement: Select[*tuple[Any, ...]]) -> list[Numbered]:
    return [Numbered(row.seq, read_memory(row)) for row in connection.execute(statement)]


_IN_IDS = and_(memories.c.workspace == bindparam("workspace"), memories.c.id.in_(bindparam("ids", expanding=True)))
_BY_IDS = select(memories).where(_IN_IDS)
_NUMBERS = select(memories.c.id, memories.c.seq).where(_IN_IDS)
_INSERT = insert_into(memories)
_INSERT_TAGS = insert_into(memory_tags)
_INSERT_PARENTS = insert_into(memory_parents)
