"""Where memories come from and what came of them: sources, parents, successors, and what says the opposite."""

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, Row, Select, and_, bindparam, select, union
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
    return genealogies(connection, workspace, [id_]).get(id_)


def genealogies(connection: Connection, workspace: str, ids: Sequence[str]) -> dict[str, Genealogy]:
    """By id, where each memory comes from and what came of it; unknown ids are absent."""
    rows = _rows(connection, workspace, ids)
    elders = _elders(connection, workspace, list(rows))
    children, replaced = (_grouped(connection, each, workspace, ids) for each in (_CHILDREN, _REPLACED))
    taught, opposed = sources(connection, workspace, ids), contradictions(connection, workspace, ids)
    return {
        id_: Genealogy(
            id=id_,
            trace_id=row.trace_id,
            parents=loaded_words(row.parents),
            children=children.get(id_, ()),
            supersedes=replaced.get(id_, ()),
            superseded_by=row.superseded_by,
            sources=taught[id_],
            ancestry=tuple(elders[id_])[1:],
            stage=_stage(id_, elders[id_]),
            contradicts=tuple(other for other, _ in opposed.get(id_, ())),
        )
        for id_, row in rows.items()
    }


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
    found = {id_: row.superseded_by for id_, row in _rows(connection, workspace, ids).items()}
    families = _rows(connection, workspace, [by for by in found.values() if by is not None])

    def took(id_: str, by: str | None) -> bool:
        return by in families and id_ in loaded_words(families[by].parents)

    return {id_: by if took(id_, by) else None for id_, by in found.items()}


def _rows(connection: Connection, workspace: str, ids: Iterable[str]) -> dict[str, Row[*tuple[Any, ...]]]:
    """By id, what ties each memory to others."""
    return {
        row.id: row
        for some in batches(ids)
        for row in connection.execute(_FAMILY, {"workspace": workspace, "ids": some})
    }


def _last(id_: str, next_of: Mapping[str, str], known: Set[str]) -> str:
    seen = {id_}
    while (following := next_of.get(id_)) is not None and following in known and following not in seen:
        seen.add(following)
        id_ = following
    return id_


def _grouped(
    connection: Connection, statement: Select[*tuple[Any, ...]], workspace: str, ids: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """The second column of each row by the first, in the order of the third.

    Sorted here: asked for an order, SQLite reads the whole workspace in it instead of looking up a few.
    """
    rows: list[Row[*tuple[Any, ...]]] = []
    for some in batches(ids):
        rows += connection.execute(statement, {"workspace": workspace, "ids": some})
    found: dict[str, tuple[str, ...]] = {}
    for by, id_, *_ in sorted(rows, key=lambda row: row[2]):
        found[by] = (*found.get(by, ()), id_)
    return found


def _elders(connection: Connection, workspace: str, ids: Sequence[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """By id, what a memory came of, nearest first, each with what it came of itself; the memory itself is the first.

    A memory comes of its parents, and of older ones that it replaced. All families are looked up together, one
    generation after the other.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {id_: {} for id_ in ids}
    came_of: dict[str, tuple[str, ...]] = {}
    waiting = {id_: [id_] for id_ in ids}
    while waiting:
        unknown = [each for several in waiting.values() for each in several if each not in came_of]
        came_of |= _came_of(connection, workspace, unknown)
        nearer = {id_: _one_generation(found[id_], several, came_of) for id_, several in waiting.items()}
        waiting = {id_: several for id_, several in nearer.items() if several}
    return found


def _one_generation(
    found: dict[str, tuple[str, ...]], several: Sequence[str], came_of: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Adds some to a family, as many as may be looked at; what they came of in turn."""
    nearer: list[str] = []
    for each in several:
        if len(found) > MOST_ANCESTORS:
            return []
        if each not in found:
            found[each] = came_of.get(each, ())
            nearer += found[each]
    return nearer


def _came_of(connection: Connection, workspace: str, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    older = _grouped(connection, _REPLACED_OLDER, workspace, ids)
    return {
        id_: tuple(dict.fromkeys([*loaded_words(row.parents), *older.get(id_, ())]))
        for id_, row in _rows(connection, workspace, ids).items()
    }


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


_WORKSPACE: BindParameter[str] = bindparam("workspace")
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
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
    .where(memories.c.workspace == _WORKSPACE, memories.c.superseded_by.in_(_IDS))
    .order_by(memories.c.seq)
)
_MINE = and_(memories.c.workspace == _WORKSPACE, memories.c.id.in_(_IDS))
_NUMBERS = select(memories.c.seq, memories.c.id).where(_MINE)
_FAMILY = select(
    memories.c.seq, memories.c.id, memories.c.trace_id, memories.c.parents, memories.c.superseded_by
).where(_MINE)
# The trace is read for the planner: what the index of filters holds, SQLite would rather find in the whole workspace.
_REPLACED = select(memories.c.superseded_by, memories.c.id, memories.c.seq, memories.c.trace_id).where(
    memories.c.workspace == _WORKSPACE, memories.c.superseded_by.in_(_IDS)
)
_REPLACED_OLDER = _REPLACED.join(
    _SUCCESSOR, (_SUCCESSOR.c.workspace == memories.c.workspace) & (_SUCCESSOR.c.id == memories.c.superseded_by)
).where(memories.c.seq < _SUCCESSOR.c.seq)
_CHILDREN = (
    select(memory_parents.c.parent_id, memories.c.id, memories.c.seq)
    .join(memories, memories.c.seq == memory_parents.c.memory)
    .where(memory_parents.c.workspace == _WORKSPACE, memory_parents.c.parent_id.in_(_IDS))
)
_LINK = select(memory_contradictions.c.memory, memory_contradictions.c.other, memory_contradictions.c.reason)
_LINKED = union(
    _LINK.where(memory_contradictions.c.memory.in_(bindparam("seqs", expanding=True))),
    _LINK.where(memory_contradictions.c.other.in_(bindparam("seqs", expanding=True))),
).order_by("memory", "other")
_ENDS = select(memories.c.seq, memories.c.id, is_searchable().label("live")).where(
    memories.c.seq.in_(bindparam("seqs", expanding=True))
)
