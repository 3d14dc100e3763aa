"""What a workspace is about, in counts: read from the truth, and what tells whether it is still so."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from reasoning_bank.storage import changes, embeddings, schema, workspaces
from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.scope import is_searchable
from reasoning_bank.storage.workspaces import Counts
from reasoning_bank.text.languages import writing

_MOST: Final = 20
_LOOKED_AT: Final = 1_000
"""Memories whose language is told, the latest: of a thousand more the shares would not differ."""

State = tuple[int, str, str]
"""Differs after any write that a profile or a memory in full can show, except for what `Marks` are of a memory.

The latest change, the id of the latest trace, the model: none comes again, not even in a bank put back from a backup.
"""


@dataclass(frozen=True, slots=True)
class Marks:
    """What can change of a memory without a change that a search would have to see.

    Attributes:
        used: how often it was given.
        sources: traces that taught it beside its own.
    """

    used: int
    sources: int


@dataclass(frozen=True, slots=True)
class TopMemory:
    """A memory that helped: its id and title, and how often it helped and misled."""

    id: str
    title: str
    helped: int
    misled: int


@dataclass(frozen=True, slots=True)
class WorkspaceProfile:
    """What a workspace is about; names with their counts, most first, at most 20 of a kind.

    Attributes:
        outcomes: of live memories.
        languages: ISO 639-1 codes of the latest 1,000 live memories, "" where their words do not tell.
        top: live memories by how much more often they helped than misled.
    """

    counts: Counts
    outcomes: dict[str, int]
    tags: dict[str, int]
    domains: dict[str, int]
    languages: dict[str, int]
    top: tuple[TopMemory, ...]


def state(connection: Connection, workspace: str) -> State:
    """What tells in tens of microseconds whether a profile or a memory in full, read at the same state, still holds."""
    traces = schema.traces.c
    latest = select(traces.id).where(traces.workspace == workspace).order_by(traces.seq.desc()).limit(1)
    model = embeddings.active_model(connection) or ""
    return changes.last_seq(connection, workspace), connection.scalar(latest) or "", model


def marks(connection: Connection, workspace: str, ids: Iterable[str]) -> dict[str, Marks]:
    """The marks of each memory; unknown ids are absent."""
    memories, sources = schema.memories, schema.memory_sources
    count = select(func.count()).where(sources.c.memory == memories.c.seq).scalar_subquery()
    found: dict[str, Marks] = {}
    for some in batches(ids):
        mine = (memories.c.workspace == workspace) & memories.c.id.in_(some)
        rows = connection.execute(select(memories.c.id, memories.c.used, count).where(mine))
        found |= {id_: Marks(used, taught) for id_, used, taught in rows}
    return found


def profile(connection: Connection, workspace: str) -> WorkspaceProfile:
    """What a workspace is about now."""
    memories, tags = schema.memories, schema.memory_tags
    live = (memories.c.workspace == workspace) & is_searchable()
    tagged = (
        select(tags.c.tag, func.count())
        .join(memories, memories.c.seq == tags.c.memory)
        .where(tags.c.workspace == workspace, live)
        .group_by(tags.c.tag)
    )
    domains = select(memories.c.domain, func.count()).where(live, memories.c.domain.is_not(None))
    outcomes = select(memories.c.outcome, func.count()).where(live).group_by(memories.c.outcome)
    said = select(memories.c.title, memories.c.description).where(live).order_by(memories.c.seq.desc())
    languages = Counter(
        writing(f"{title}\n{description}").language for title, description in connection.execute(said.limit(_LOOKED_AT))
    )
    top = (
        select(memories.c.id, memories.c.title, memories.c.helped, memories.c.misled)
        .where(live, memories.c.helped > memories.c.misled)
        .order_by((memories.c.helped - memories.c.misled).desc(), memories.c.id)
        .limit(_MOST)
    )
    return WorkspaceProfile(
        counts=workspaces.counts(connection, workspace, model_id=embeddings.active_model(connection)),
        outcomes=_most(dict(connection.execute(outcomes).all())),
        tags=_most(dict(connection.execute(tagged).all())),
        domains=_most(dict(connection.execute(domains.group_by(memories.c.domain)).all())),
        languages=_most(languages),
        top=tuple(TopMemory(*row) for row in connection.execute(top)),
    )


def _most(counted: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counted.items(), key=lambda each: (-each[1], each[0]))[:_MOST])
