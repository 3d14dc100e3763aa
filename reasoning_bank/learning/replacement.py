"""What was distilled from a trace at first gives way to what an assistant or a model makes of it later."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from reasoning_bank.learning.merging import in_use
from reasoning_bank.records import Counters, Memory, StoredMemory
from reasoning_bank.storage import lineage, memories


def give_way(
    connection: Connection, workspace: str, trace_id: str, better: Sequence[StoredMemory], *, now: datetime
) -> list[str]:
    """Supersedes what rules or a model made of a trace by the first better memory that is served; the ids replaced.

    None are where nothing better is served. What somebody rated stays, and so does what stands for other traces by now:
    it took in their memories, or they taught it again.
    """
    new = [memory.id for memory in better if memory.id is not None]
    found = memories.by_ids(connection, workspace, new)
    served = [id_ for id_ in new if in_use(found[id_])]
    if not served:
        return []
    made = [each for each in memories.of_trace(connection, workspace, trace_id) if each.id not in new]
    sources = lineage.sources(connection, workspace, [each.id for each in made])
    old = [each.id for each in made if len(sources[each.id]) == 1 and _is_replaceable(each)]
    return memories.supersede(connection, workspace, old, served[0], now)


def _is_replaceable(memory: Memory) -> bool:
    """True for what was made of one trace without its author, while it holds and nobody has said how it did."""
    rated = replace(memory.counters, used=0) != Counters()
    in_force = memory.superseded_by is None and memory.deleted_at is None
    return memory.item.origin in {"rules", "llm"} and in_force and not rated and not memory.item.parents
