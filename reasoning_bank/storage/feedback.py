"""What callers said of the memories they were given."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, insert, update

from reasoning_bank.errors import NotFoundError
from reasoning_bank.records import Counters, Verdict
from reasoning_bank.storage import changes
from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.schema import feedback, memories
from reasoning_bank.storage.timestamps import to_micros


def add(
    connection: Connection,
    workspace: str,
    ids: Iterable[str],
    verdict: Verdict,
    *,
    now: datetime,
    note: str | None = None,
    actor: str | None = None,
) -> dict[str, Counters]:
    """Counts a verdict on each memory; their new counters by id.

    Raises:
        NotFoundError: naming the ids this workspace does not have; nothing is counted then.
    """
    wanted, counters = list(dict.fromkeys(ids)), dict[str, Counters]()
    column = memories.c[verdict]
    columns = (memories.c.id, memories.c.used, memories.c.helped, memories.c.misled, memories.c.ignored)
    for some in batches(wanted):
        mine = (memories.c.workspace == workspace) & memories.c.id.in_(some) & memories.c.deleted_at.is_(None)
        for id_, *values in connection.execute(
            update(memories).where(mine).values({column: column + 1}).returning(*columns)
        ):
            counters[id_] = Counters(*values)
    if unknown := [id_ for id_ in wanted if id_ not in counters]:
        raise NotFoundError(f"no memory {', '.join(map(repr, unknown))} in this workspace")
    said = {"workspace": workspace, "verdict": verdict, "actor": actor, "note": note, "created_at": to_micros(now)}
    if wanted:
        connection.execute(insert(feedback), [said | {"memory_id": id_} for id_ in wanted])
    changes.append(connection, workspace, wanted, "counters")
    return {id_: counters[id_] for id_ in wanted}
