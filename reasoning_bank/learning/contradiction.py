"""Memories that say the opposite: linked, and decided by what speaks for each, where that is clear enough.

Nothing is destroyed: who is overruled keeps its words and the time in which it held. Where nothing decides, both stay
and each is served with the note that the other exists; every later verdict looks again.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from reasoning_bank.learning.similarity import OTHER_VALUE, SAME, compared, lesson_of
from reasoning_bank.learning.support import support
from reasoning_bank.records import Memory
from reasoning_bank.storage import history, lineage, memories, standing
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import event_moment

CLEARLY: Final = 2
"""How much more must speak for the older memory for the newer one to be wrong: one task may be an exception."""


def link(connection: Connection, workspace: str, one: str, other: str, *, reason: str, now: datetime) -> None:
    """Notes that two memories contradict each other, and decides between them if that is possible by now."""
    lineage.contradict(connection, workspace, one, other, reason=reason, now=now)
    decide(connection, workspace, one, other, now=now)


def decide(connection: Connection, workspace: str, one: str, other: str, *, now: datetime) -> str | None:
    """Lets one of two contradicting memories overrule the other where that is clear; the id that holds, or None.

    Imported memories and those that are not in use are left alone.
    """
    found = memories.by_ids(connection, workspace, [one, other])
    if len(found) < 2 or not all(_is_ours(memory) for memory in found.values()):
        return None
    older, newer = sorted(found.values(), key=lambda memory: (_began(memory), memory.created_at, memory.id))
    reason = lineage.contradictions(connection, workspace, [one]).get(one, ())
    said = next((why for id_, why in reason if id_ == other), "")
    winner = _winner(connection, older, newer, sets_value=said.startswith(OTHER_VALUE))
    if winner is None:
        return None
    loser = older if winner is newer else newer
    _overrule(connection, loser, winner, reason=said, now=now)
    return winner.id


def reinstate(connection: Connection, workspace: str, id_: str, *, reason: str, now: datetime) -> list[str]:
    """Puts in force again what a memory had overruled, as it is out of use itself; their ids."""
    opposed = [other for other, _ in lineage.contradictions(connection, workspace, [id_]).get(id_, ())]
    return _reinstated(connection, workspace, id_, opposed, reason=reason, now=now)


def reconsider(connection: Connection, workspace: str, id_: str, *, now: datetime) -> None:
    """Looks again at everything that contradicts a memory, after a verdict on it."""
    memory = memories.by_ids(connection, workspace, [id_]).get(id_)
    if memory is None or not _is_ours(memory):
        return
    weight = support(connection, memory).weight
    stronger = [each.id for each in _overruled_by(connection, memory) if support(connection, each).weight > weight]
    _reinstated(connection, workspace, id_, stronger, reason="more speaks for it by now", now=now)
    for other, _ in lineage.contradictions(connection, workspace, [id_], live_only=True).get(id_, ()):
        decide(connection, workspace, id_, other, now=now)


def _reinstated(
    connection: Connection, workspace: str, by: str, ids: Sequence[str], *, reason: str, now: datetime
) -> list[str]:
    back = memories.reinstate(connection, workspace, ids, by, now)
    history.note(connection, workspace, back, "reinstated", reason=reason, now=now, change=(by, None))
    return back


def _winner(connection: Connection, older: Memory, newer: Memory, *, sets_value: bool) -> Memory | None:
    """Who holds: whoever is trusted more unless more speaks for the other; else by evidence and by time.

    Another value for the same setting is what changes with time, so the newer one needs no more than the older one
    has; opposite advice needs one witness more. What two independent successes made trusted holds against a single
    claim, and whoever claims the same again adds to it.
    """
    claim = support(connection, newer).weight + _allies(connection, newer, older)
    lead = claim - support(connection, older).weight
    trust = standing.RANK[newer.item.trust] - standing.RANK[older.item.trust]
    if "low" in (newer.item.trust, older.item.trust) and trust:
        trusted, its_lead = (newer, lead) if trust > 0 else (older, -lead)
        return trusted if its_lead >= 0 else None
    if lead >= (0 if sets_value else 1):
        return newer
    clearly = 1 if older.item.trust == "trusted" and newer.item.trust != "trusted" else CLEARLY
    return older if -lead >= clearly else None


def _allies(connection: Connection, newer: Memory, older: Memory) -> int:
    """What spoke for those that said the same as the newer one, and that the older one overruled before."""
    found = _overruled_by(connection, older)
    lesson = lesson_of(newer.item)
    same = [each for each in found if compared(lesson, lesson_of(each.item), SAME).relation == "same"]
    return sum(support(connection, each).weight for each in same if each.id != newer.id)


def _overruled_by(connection: Connection, memory: Memory) -> list[Memory]:
    opposed = lineage.contradictions(connection, memory.workspace, [memory.id]).get(memory.id, ())
    found = memories.by_ids(connection, memory.workspace, [id_ for id_, _ in opposed])
    return [each for each in found.values() if each.superseded_by == memory.id]


def _overrule(connection: Connection, loser: Memory, winner: Memory, *, reason: str, now: datetime) -> None:
    """The loser held until the winner began; the later of two that loses never held."""
    began = max(_began(loser), _began(winner))
    if winner.item.valid_from is None and _began(winner) > _began(loser):
        _begin(connection, winner, began)
    workspace = winner.workspace
    memories.supersede(connection, workspace, [loser.id], winner.id, now, until=began)
    history.note(connection, workspace, [loser.id], "overruled", reason=reason, now=now, change=(loser.id, winner.id))


def _begin(connection: Connection, memory: Memory, moment: datetime) -> None:
    item = replace(memory.item, valid_from=moment)
    memories.update(connection, replace(memory, item=item), analyse(item))


def _began(memory: Memory) -> datetime:
    """When a memory began to hold: as it says, else when it happened, at the latest when it was stored."""
    happened = event_moment(memory.item.time)
    if memory.item.valid_from is not None:
        return memory.item.valid_from
    if happened is not None and happened.tzinfo is not None:
        return min(happened, memory.created_at)
    return memory.created_at


def _is_ours(memory: Memory) -> bool:
    in_use = memory.deleted_at is None and memory.superseded_by is None and memory.item.trust != "quarantined"
    return in_use and memory.item.origin != "import"
