"""Where memories come from and what came of them: sources, parents, successors, and what says the opposite."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, select, union
from sqlalchemy.dialects.sqlite import insert

from reasoning_bank.records import Genealogy, Links
from reasoning_bank.storage import changes
from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.memory_rows import loaded_words
from reasoning_bank.storage.schema import memories, memory_contradictions, memory_parents, memory_sources
from reasoning_bank.storage.scope import is_searchable
from reasoning_bank.storage.timestamps import to_micros

MOST_ANCESTORS: Final = 200
"""Where the look back ends: an import may claim any family."""
_LONGEST_CHAIN = 50


def genealogy(connection: Connection, workspace: str, id_: str) -> Genealogy | None:
    """Where a memory comes from and what came of it, or None for an unknown id."""
    mine = (memories.c.workspace == workspace) & (memories.c.id == id_)
    row = connection.execute(
        select(memories.c.seq, memories.c.trace_id, memories.c.parents, memories.c.superseded_by).where(mine)
    ).one_or_none()
    if row is None:
        return None
    elders = _elders(connection, workspace, id_)
    ancestry = tuple(elders)[1:]
    return Genealogy(
        id=id_,
        trace_id=row.trace_id,
        parents=loaded_words(row.parents),
        children=tuple(_children(connection, workspace, id_)),
        supersedes=tuple(_replaced(connection, workspace, id_)),
        superseded_by=row.superseded_by,
        sources=sources(connection, workspace, [id_])[id_],
        ancestry=ancestry,
        stage=_stage(id_, elders),
        contradicts=tuple(other for other, _ in contradictions(connection, workspace, [id_]).get(id_, ())),
    )


def sources(connection: Connection, workspace: str, ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The traces that taught each memory: the one its words are from, then the others as they came."""
    found: dict[str, tuple[str, ...]] = {}
    for some in batches(ids):
        mine = (memories.c.workspace == workspace) & memories.c.id.in_(some)
        found |= {
            id_: (own,) for id_, own in connection.execute(select(memories.c.id, memories.c.trace_id).where(mine))
        }
        further = (
            select(memories.c.id, memory_sources.c.trace_id)
            .join(memories, memories.c.seq == memory_sources.c.memory)
            .where(mine)
            .order_by(memory_sources.c.created_at, memory_sources.c.trace_id)
        )
        for id_, trace_id in connection.execute(further):
            if trace_id not in found[id_]:
                found[id_] += (trace_id,)
    return found


def add_sources(connection: Connection, workspace: str, id_: str, trace_ids: Iterable[str], now: datetime) -> None:
    """Notes further traces that taught a memory; known ones are left as they are."""
    seq = connection.scalar(select(memories.c.seq).where(memories.c.workspace == workspace, memories.c.id == id_))
    rows = [{"memory": seq, "trace_id": each, "created_at": to_micros(now)} for each in dict.fromkeys(trace_ids)]
    if seq is not None and rows:
        connection.execute(insert(memory_sources).on_conflict_do_nothing(), rows)


def contradict(connection: Connection, workspace: str, one: str, other: str, *, reason: str, now: datetime) -> bool:
    """Links two memories that cannot both hold; False where they were linked before, or one is not there."""
    statement = select(memories.c.seq).where(memories.c.workspace == workspace, memories.c.id.in_([one, other]))
    seqs = sorted(connection.scalars(statement))
    if len(seqs) != 2:
        return False
    row = {"memory": seqs[0], "other": seqs[1], "reason": reason, "created_at": to_micros(now)}
    linked = connection.execute(insert(memory_contradictions).values(row).on_conflict_do_nothing()).rowcount > 0
    if linked:
        changes.append(connection, workspace, [one, other], "update")
    return linked


def contradictions(
    connection: Connection, workspace: str, ids: Iterable[str], *, live_only: bool = False
) -> dict[str, list[tuple[str, str]]]:
    """By id, (id of what says the opposite, reason), in the order of storing; absent where nothing does.

    Args:
        live_only: only links between memories that can both be found.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for some in batches(ids):
        mine = dict(connection.execute(_NUMBERS, {"workspace": workspace, "ids": some}).all())
        linked = [tuple(row) for row in connection.execute(_LINKED, {"seqs": list(mine)})]
        # One statement more only where something is linked, which is rare: every read of a memory comes here.
        seqs = {seq for one, other, _ in linked for seq in (one, other)}
        ends = {row.seq: row for row in connection.execute(_ENDS, {"seqs": list(seqs)})} if seqs else {}
        for one, other, reason in linked:
            for seq, against in ((one, other), (other, one)):
                shown = not live_only or (ends[seq].live and ends[against].live)
                if seq in mine and shown:
                    found.setdefault(mine[seq], []).append((ends[against].id, reason))
    return found


def links(connection: Connection, workspace: str, ids: Sequence[str]) -> dict[str, Links]:
    """What ties each memory to traces and other memories."""
    own = sources(connection, workspace, ids)
    opposed = contradictions(connection, workspace, ids)
    return {id_: Links(traces[1:], tuple(opposed.get(id_, ()))) for id_, traces in own.items()}


def note_opponents(connection: Connection, workspace: str, ids: Iterable[str]) -> None:
    """Notes that what contradicts these memories is to be looked at again: they can be found no longer, or again."""
    opposed = contradictions(connection, workspace, ids)
    changes.append(connection, workspace, {other for pairs in opposed.values() for other, _ in pairs}, "update")


def successors(connection: Connection, workspace: str, ids: Iterable[str]) -> dict[str, str]:
    """By id, the memory that stands for it now: itself, or what took it in, at any distance; unknown ids are absent.

    What took a memory in has it among its parents. What overruled it says something else and stands for itself only.
    """
    wanted = list(dict.fromkeys(ids))
    next_of: dict[str, str] = {}
    known: set[str] = set()
    waiting = wanted
    for _ in range(_LONGEST_CHAIN):
        steps = _steps(connection, workspace, waiting)
        known |= steps.keys()
        next_of |= {id_: by for id_, by in steps.items() if by is not None}
        waiting = [by for by in steps.values() if by is not None and by not in known]
        if not waiting:
            break
    return {id_: _last(id_, next_of, known) for id_ in wanted if id_ in known}


def taken_in(connection: Connection, workspace: str, id_: str) -> list[str]:
    """What a memory stands for, at any distance, nearest first: each has it, or what took it in, as its successor."""
    found: dict[str, None] = {}
    waiting = [id_]
    for _ in range(_LONGEST_CHAIN):
        nearer = [
            each
            for some in batches(waiting)
            for each in connection.scalars(_TAKEN_IN, {"workspace": workspace, "ids": some})
        ]
        waiting = [each for each in nearer if each not in found and each != id_]
        if not waiting:
            break
        found |= dict.fromkeys(waiting)
    return list(found)


def _steps(connection: Connection, workspace: str, ids: Sequence[str]) -> dict[str, str | None]:
    """By id, what took it in directly, or None."""
    found: dict[str, str | None] = {}
    for some in batches(ids):
        mine = (memories.c.workspace == workspace) & memories.c.id.in_(some)
        found |= dict(connection.execute(select(memories.c.id, memories.c.superseded_by).where(mine)).all())
    families = _families(connection, workspace, [by for by in found.values() if by is not None])
    return {id_: by if by is not None and id_ in families.get(by, ()) else None for id_, by in found.items()}


def _families(connection: Connection, workspace: str, ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for some in batches(ids):
        mine = (memories.c.workspace == workspace) & memories.c.id.in_(some)
        rows = connection.execute(select(memories.c.id, memories.c.parents).where(mine))
        found |= {id_: loaded_words(parents) for id_, parents in rows}
    return found


def _last(id_: str, next_of: Mapping[str, str], known: Set[str]) -> str:
    seen = {id_}
    while (following := next_of.get(id_)) is not None and following in known and following not in seen:
        seen.add(following)
        id_ = following
    return id_


def _children(connection: Connection, workspace: str, id_: str) -> list[str]:
    statement = (
        select(memories.c.id)
        .join(memory_parents, memory_parents.c.memory == memories.c.seq)
        .where(memory_parents.c.workspace == workspace, memory_parents.c.parent_id == id_)
        .order_by(memories.c.seq)
    )
    return list(connection.scalars(statement))


def _replaced(connection: Connection, workspace: str, id_: str) -> list[str]:
    replaced = select(memories.c.id).where(memories.c.workspace == workspace, memories.c.superseded_by == id_)
    return list(connection.scalars(replaced.order_by(memories.c.seq)))


def _elders(connection: Connection, workspace: str, id_: str) -> dict[str, tuple[str, ...]]:
    """What a memory came of, nearest first, each with what it came of itself; the memory itself is the first.

    A memory comes of its parents, and of older ones that it replaced.
    """
    found: dict[str, tuple[str, ...]] = {}
    waiting = deque([id_])
    while waiting and len(found) <= MOST_ANCESTORS:
        each = waiting.popleft()
        if each in found:
            continue
        found[each] = _came_of(connection, workspace, each)
        waiting.extend(found[each])
    return found


def _came_of(connection: Connection, workspace: str, id_: str) -> tuple[str, ...]:
    row = connection.execute(
        select(memories.c.seq, memories.c.parents).where(memories.c.workspace == workspace, memories.c.id == id_)
    ).one_or_none()
    if row is None:
        return ()
    older = select(memories.c.id).where(
        memories.c.workspace == workspace, memories.c.superseded_by == id_, memories.c.seq < row.seq
    )
    return tuple(dict.fromkeys([*loaded_words(row.parents), *connection.scalars(older.order_by(memories.c.seq))]))


def _stage(id_: str, elders: Mapping[str, tuple[str, ...]]) -> int:
    """The longest way back from a memory, in steps; a way that comes back to itself ends there."""
    longest: dict[str, int] = {}
    path: list[str] = []

    def visit(each: str) -> int:
        if each in longest or each in path:
            return longest.get(each, 0)
        path.append(each)
        longest[each] = max((visit(elder) + 1 for elder in elders.get(each, ()) if elder not in path), default=0)
        path.pop()
        return longest[each]

    return visit(id_)


_SUCCESSOR = memories.alias()
_TAKEN_IN = (
    select(memories.c.id)
    .join(_SUCCESSOR, (_SUCCESSOR.c.workspace == memories.c.workspace) & (_SUCCESSOR.c.id == memories.c.superseded_by))
    .join(
        memory_parents,
        (memory_parents.c.workspace == memories.c.workspace)
        & (memory_parents.c.parent_id == memories.c.id)
        & (memory_parents.c.memory == _SUCCESSOR.c.seq),
    )
    .where(
        memories.c.workspace == bindparam("workspace"),
        memories.c.superseded_by.in_(bindparam("ids", expanding=True)),
    )
    .order_by(memories.c.seq)
)
_NUMBERS = select(memories.c.seq, memories.c.id).where(
    memories.c.workspace == bindparam("workspace"), memories.c.id.in_(bindparam("ids", expanding=True))
)
_LINK = select(memory_contradictions.c.memory, memory_contradictions.c.other, memory_contradictions.c.reason)
_LINKED = union(
    _LINK.where(memory_contradictions.c.memory.in_(bindparam("seqs", expanding=True))),
    _LINK.where(memory_contradictions.c.other.in_(bindparam("seqs", expanding=True))),
).order_by("memory", "other")
_ENDS = select(memories.c.seq, memories.c.id, is_searchable().label("live")).where(
    memories.c.seq.in_(bindparam("seqs", expanding=True))
)
