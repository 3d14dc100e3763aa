"""Memories in full and profiles of workspaces: read once, and again only when something they show has changed.

What is kept is kept under the state of the workspace it was read at, and each request reads that state first: whatever
any process wrote ends its life at once. How often a memory was used is no change, and read each time.
"""

import time
from collections.abc import Callable, Container, Hashable, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from reasoning_bank.cache.named import Cache
from reasoning_bank.errors import NotFoundError
from reasoning_bank.records import MemoryDetail
from reasoning_bank.storage import lineage, memories, profile, traces
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.profile import Marks, State, WorkspaceProfile

_MOST_AHEAD: Final = 32
_LONGEST_KEPT: Final = 16_384
"""Characters of a trajectory beside which a memory is kept: looking through a long one, to know what memory it takes,
costs the event loop more than reading it again."""


class Reader:
    """Reads what is asked for by name.

    Args:
        database: the truth.
        details: memories in full, by (state, id).
        profiles: profiles, by state.
        timer: a clock in seconds, for what reading takes.
    """

    def __init__(
        self,
        database: Database,
        *,
        details: Cache[MemoryDetail],
        profiles: Cache[WorkspaceProfile],
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._database = database
        self._details = details
        self._profiles = profiles
        self._timer = timer

    async def details(self, workspace: str, ids: Sequence[str]) -> list[MemoryDetail]:
        """Memories with their traces and genealogies, in the order of the ids.

        Raises:
            NotFoundError: naming the ids this workspace does not have.
        """
        state, marks = await self._database.read(
            lambda c: (profile.state(c, workspace), profile.marks(c, workspace, ids))
        )
        _refuse_unknown(ids, marks)
        found: dict[str, MemoryDetail] = {}
        for id_, its in marks.items():
            if (kept := await self._details.get(_key(state, id_, its), namespace=workspace)) is not None:
                found[id_] = _with_uses(kept, its.used)
        if missing := [id_ for id_ in ids if id_ not in found]:
            found |= await self._read(workspace, missing)
        return [found[id_] for id_ in ids]

    async def profile(self, workspace: str) -> WorkspaceProfile:
        """What a workspace is about."""
        state = await self._database.read(lambda c: profile.state(c, workspace))
        known = await self._profiles.get(state, namespace=workspace)
        if known is not None:
            return known
        started = self._timer()
        state, fresh = await self._database.read(lambda c: (profile.state(c, workspace), profile.profile(c, workspace)))
        await self._profiles.set(state, fresh, namespace=workspace, cost_s=self._timer() - started)
        return fresh

    async def ahead(self, workspace: str, ids: Sequence[str]) -> None:
        """Read memories that are likely to be asked for next, and what else their traces taught."""

        def worth_reading(connection: Connection) -> list[str]:
            wanted = dict.fromkeys([*ids, *memories.beside(connection, workspace, ids)])
            kept = memories.with_short_traces(connection, workspace, wanted, most=_LONGEST_KEPT)
            return [id_ for id_ in wanted if id_ in kept][:_MOST_AHEAD]

        await self.details(workspace, await self._database.read(worth_reading))

    async def _read(self, workspace: str, ids: Sequence[str]) -> dict[str, MemoryDetail]:
        def read(connection: Connection) -> tuple[State, dict[str, Marks], dict[str, MemoryDetail], set[str]]:
            state, marks = profile.state(connection, workspace), profile.marks(connection, workspace, ids)
            kept = memories.with_short_traces(connection, workspace, ids, most=_LONGEST_KEPT)
            return state, marks, _details(connection, workspace, ids), kept

        started = self._timer()
        state, marks, fresh, kept = await self._database.read(read)
        cost_s = (self._timer() - started) / len(fresh)
        for id_ in kept:
            await self._details.set(_key(state, id_, marks[id_]), fresh[id_], namespace=workspace, cost_s=cost_s)
        return fresh


def _key(state: State, id_: str, marks: Marks) -> tuple[Hashable, ...]:
    return *state, id_, marks.sources


def _details(connection: Connection, workspace: str, ids: Sequence[str]) -> dict[str, MemoryDetail]:
    found = memories.by_ids(connection, workspace, ids)
    _refuse_unknown(ids, found)
    reports = traces.by_ids(connection, workspace, {memory.trace_id for memory in found.values()})
    families = lineage.genealogies(connection, workspace, ids)
    return {id_: MemoryDetail(memory, reports[memory.trace_id], families[id_]) for id_, memory in found.items()}


def _refuse_unknown(ids: Sequence[str], known: Container[str]) -> None:
    if unknown := [id_ for id_ in ids if id_ not in known]:
        raise NotFoundError(f"no memory {', '.join(map(repr, unknown))} in this workspace")


def _with_uses(detail: MemoryDetail, used: int) -> MemoryDetail:
    if detail.memory.counters.used == used:
        return detail
    return replace(detail, memory=replace(detail.memory, counters=replace(detail.memory.counters, used=used)))
