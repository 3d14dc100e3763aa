"""Keeps a bank small and consistent as it grows: repetitions merged, contradictions linked, the useless forgotten.

Works through the outbox rows that storing leaves, after the memories have vectors. First it is read what resembles
the new memories; then each decision is one transaction that looks at its memories again, so that a process killed
anywhere leaves no half merge, and what was done is not done twice. Imported rows stay as they were.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, cast

from sqlalchemy import Connection

from reasoning_bank.background.worker import Handler
from reasoning_bank.errors import BusyError, UpstreamError
from reasoning_bank.learning import contradiction
from reasoning_bank.learning.merging import GENERAL, Words, can_merge, generalise, merge, tasks_of
from reasoning_bank.learning.neighbours import Neighbour, neighbours
from reasoning_bank.learning.pruning import prunable, prune_some
from reasoning_bank.learning.similarity import compared, lesson_of
from reasoning_bank.records import Memory, MemoryItem
from reasoning_bank.storage import embeddings, memories
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.outbox import OutboxRow
from reasoning_bank.storage.servings import task_hash

logger = logging.getLogger(__name__)

SAME_SITUATION: Final = 0.7
"""Cosine of what two lessons are found by, from which they belong to the same situation."""
SHARED_SITUATION: Final = 0.5
"""The same for opposite advice: below it both may be right, each where it was learned."""
FAMILY: Final = 3
"""Different tasks that must have taught the same before it counts as general."""
EMBEDDING_PAUSES_S: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""How consolidation waits for vectors that are being made; then the work goes back to the outbox."""
GIVES_UP_AFTER: Final = timedelta(hours=24)
"""How long it waits in all: what has no vector by then is left as it is."""
_NO_VECTORS_S = 15.0

MergeWords = Callable[[str, Sequence[MemoryItem]], Awaitable[Words | None]]
"""Writes the words for several lessons of a workspace that say the same; None keeps the best of theirs. What it returns
is redacted and has passed the gate. May raise UpstreamError."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with some memories, and what they said when it was decided."""

    kind: Literal["merge", "generalise", "contradict"]
    reason: str
    hashes: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def ids(self) -> list[str]:
        """The memories it concerns."""
        return list(self.hashes)


class Consolidator:
    """Merges, links and forgets in the background.

    Args:
        database: an open bank.
        now: the clock, aware UTC.
        prune_above: memories of our own in a workspace above which the never useful are forgotten; 0 forgets none.
        words: writes merged words, or None to keep the best of those that are there.
        woken: called where new vectors are wanted, after the transaction.
    """

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime],
        prune_above: int,
        words: MergeWords | None = None,
        woken: Callable[[], object] = lambda: None,
    ) -> None:
        self._database = database
        self._now = now
        self._prune_above = prune_above
        self._words = words
        self._woken = woken

    @property
    def handler(self) -> Handler:
        """Does outbox rows with {"ids": [memory id, …]}."""
        return self._handle

    async def _handle(self, rows: Sequence[OutboxRow]) -> None:
        groups: dict[str, list[str]] = {}
        for row in rows:
            groups.setdefault(row.workspace, []).extend(cast("Mapping[str, list[str]]", row.payload)["ids"])
        patient = any(self._now() - row.created_at < GIVES_UP_AFTER for row in rows)
        for workspace, ids in groups.items():
            await self._await_vectors(workspace, ids, patient=patient)
            await self.consolidate(workspace, ids)
            await self.prune(workspace)

    async def consolidate(self, workspace: str, ids: Sequence[str]) -> int:
        """Decides what to do with memories that have vectors, and does it; how many decisions took effect."""
        done = 0
        near = await self._database.read(lambda c: resembling(c, workspace, list(dict.fromkeys(ids))))
        for id_, alike in near.items():
            # One by one: what was merged a moment ago is no candidate any more.
            decisions = await self._database.read(lambda c, i=id_, r=alike: decided(c, workspace, i, r))
            for decision in decisions:
                words = await self._written(workspace, decision)
                done += await self._database.write(lambda c, d=decision, w=words: self.do(c, workspace, d, w))
        if done:
            self._woken()
        return done

    async def _written(self, workspace: str, decision: Decision) -> Words | None:
        if self._words is None or decision.kind == "contradict":
            return None
        found = await self._database.read(lambda c: memories.by_ids(c, workspace, decision.ids))
        try:
            return await self._words(workspace, [found[id_].item for id_ in decision.ids if id_ in found])
        except UpstreamError as error:
            logger.info("merged words are the best of those there are: %s", error)
            return None

    def do(self, connection: Connection, workspace: str, decision: Decision, words: Words | None = None) -> bool:
        """Does what was decided, unless one of the memories is not as it was; whether it was done."""
        found = memories.by_ids(connection, workspace, decision.ids)
        now = self._now()
        if len(found) < len(decision.hashes) or not all(_as_it_was(found[id_], decision) for id_ in found):
            return False
        if decision.kind == "merge":
            return merge(connection, workspace, decision.ids, reason=decision.reason, now=now, words=words) is not None
        if decision.kind == "generalise":
            return generalise(connection, workspace, decision.ids, now=now, words=words) is not None
        contradiction.link(connection, workspace, *decision.ids, reason=decision.reason, now=now)
        return True

    async def _await_vectors(self, workspace: str, ids: Sequence[str], *, patient: bool) -> None:
        """Returns when the memories have vectors; they are made by other work, which may be under way elsewhere."""
        if not patient:
            return
        for pause_s in EMBEDDING_PAUSES_S:
            if not await self._database.read(lambda c: _without_vectors(c, workspace, ids)):
                return
            # Vectors come from whichever process has a model: only the truth tells.
            await asyncio.sleep(pause_s)
        raise BusyError("memories have no vectors yet", retry_after_s=_NO_VECTORS_S)

    async def prune(self, workspace: str) -> None:
        """Forgets what was never useful, as far as the workspace is too large."""
        limit = self._prune_above
        # Looked for where nobody waits, and done in short transactions: nobody else's write waits long.
        while limit > 0 and await self._database.read(
            lambda c: prunable(c, workspace, limit=limit, now=self._now(), most=1)
        ):
            await self._database.write(lambda c: prune_some(c, workspace, limit=limit, now=self._now()))


def decided(connection: Connection, workspace: str, id_: str, near: Sequence[Neighbour]) -> list[Decision]:
    """What should become of a memory and those that resemble it, most alike first; pure reading."""
    found = memories.by_ids(connection, workspace, [id_, *(each.id for each in near)])
    if not near or id_ not in found or not can_merge(found[id_]):
        return []
    mine, lesson = found[id_], lesson_of(found[id_].item)
    decisions: list[Decision] = []
    family: list[Memory] = []
    for each in near:
        other = found.get(each.id)
        if other is None or not can_merge(other):
            continue
        relation = compared(lesson, lesson_of(other.item), each.advice)
        if relation.relation == "same" and _belong_together(mine, other, each):
            decisions.append(_decision("merge", f"{relation.reason}, cosine {each.advice:.2f}", mine, other))
        elif relation.relation == "same" and other.item.trust == mine.item.trust:
            family.append(other)
        elif relation.relation == "opposite" and each.situation >= SHARED_SITUATION:
            decisions.append(_decision("contradict", relation.reason, mine, other))
    tasks = tasks_of(connection, workspace, [mine, *family]).values() if family else ()
    if len({task_hash(task) for task in tasks}) >= FAMILY:
        decisions.append(_decision("generalise", "the same in different situations", mine, *family))
    return decisions


def resembling(connection: Connection, workspace: str, ids: Sequence[str]) -> dict[str, list[Neighbour]]:
    """What resembles each of some memories by the bank's own model; those without vectors are absent."""
    model_id = embeddings.active_model(connection)
    return neighbours(connection, workspace, model_id, ids) if model_id else {}


def _belong_together(mine: Memory, other: Memory, near: Neighbour) -> bool:
    general = GENERAL in (mine.item.made_by, other.item.made_by)
    return general or near.situation >= SAME_SITUATION or mine.trace_id == other.trace_id


def _decision(kind: Literal["merge", "generalise", "contradict"], reason: str, *found: Memory) -> Decision:
    return Decision(kind, reason, {memory.id: memory.content_hash for memory in found})


def _as_it_was(memory: Memory, decision: Decision) -> bool:
    return can_merge(memory) and memory.content_hash == decision.hashes[memory.id]


def _without_vectors(connection: Connection, workspace: str, ids: Sequence[str]) -> bool:
    found = memories.by_ids(connection, workspace, ids)
    wanted = [id_ for id_, memory in found.items() if can_merge(memory)]
    model_id = embeddings.active_model(connection)
    if not wanted or model_id is None:
        return bool(wanted)
    return len(embeddings.embedded(connection, model_id, workspace, wanted)) < len(wanted)
