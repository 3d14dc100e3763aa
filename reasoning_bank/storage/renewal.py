"""Terms that an older analyser made, made anew: a search makes them each time it reads a workspace until they are."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from reasoning_bank.storage import memories as stored
from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.index_rows import write_terms
from reasoning_bank.storage.schema import memories, memory_terms
from reasoning_bank.text.analyser import ANALYSER_VERSION, analyse


def outdated_terms(connection: Connection, *, after: int, limit: int) -> list[int]:
    """The next memories after `after`, by seq, whose terms an older analyser made."""
    statement = (
        select(memory_terms.c.memory)
        .where(memory_terms.c.memory > after, memory_terms.c.analyser_version < ANALYSER_VERSION)
        .order_by(memory_terms.c.memory)
        .limit(limit)
    )
    return list(connection.scalars(statement))


def renew_terms(connection: Connection, seqs: Sequence[int]) -> None:
    """Makes the terms of memories anew that are still outdated.

    Read, made and written in one transaction, so that no change of a memory is overlooked. No change is noted: every
    process holds these terms already, which it made when it read the old ones.
    """
    for some in batches(seqs):
        statement = (
            select(memories.c.seq, memories.c.workspace, memories.c.id)
            .join(memory_terms, memory_terms.c.memory == memories.c.seq)
            .where(memories.c.seq.in_(some), memory_terms.c.analyser_version < ANALYSER_VERSION)
        )
        for seq, workspace, id_ in connection.execute(statement).all():
            item = stored.by_ids(connection, workspace, [id_])[id_].item
            write_terms(connection, [(seq, analyse(item))])
