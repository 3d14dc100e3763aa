"""What callers said of the memories they were given."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from reasoning_bank.errors import NotFoundError
from reasoning_bank.records import Counters, Verdict
from reasoning_bank.storage import changes, servings
from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.schema import feedback, memories
from reasoning_bank.storage.scope import is_one_of
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

    The task a memory was given for last is kept with the verdict, so that one task counts as one.

    Raises:
        NotFoundError: naming the ids this workspace does not have; nothing is counted then.
    """
    wanted, counters = list(dict.fromkeys(ids)), dict[str, Counters]()
    column = memories.c[verdict]
    columns = (memories.c.id, memories.c.used, memories.c.helped, memories.c.misled, memories.c.ignored)
    for some in batches(wanted):
        mine = is_one_of(workspace, some) & memories.c.deleted_at.is_(None)
        for id_, *values in connection.execute(
            update(memories).where(mine).values({column: column + 1}).returning(*columns)
        ):
            counters[id_] = Counters(*values)
    if unknown := [id_ for id_ in wanted if id_ not in counters]:
        raise NotFoundError(f"no memory {', '.join(map(repr, unknown))} in this workspace")
    said = {"workspace": workspace, "verdict": verdict, "actor": actor, "note": note, "created_at": to_micros(now)}
    if wanted:
        tasks = servings.latest_task(connection, workspace, wanted)
        rows = [said | {"memory_id": id_, "task_hash": tasks.get(id_)} for id_ in wanted]
        connection.execute(insert(feedback), rows)
    changes.append(connection, workspace, wanted, "counters")
    return {id_: counters[id_] for id_ in wanted}


@dataclass(frozen=True, slots=True)
class Said:
    """How often one source said one thing of a memory.

    Attributes:
        rater: who rated, as far as known.
        task: hash of the task it was given for, as far as known.
    """

    verdict: Verdict
    rater: str | None
    task: str | None
    times: int


def said_of(connection: Connection, workspace: str, ids: Sequence[str], *, since: datetime | None = None) -> list[Said]:
    """What was said of a memory and of those it took in, by source; of very many, a source may come twice."""
    table = feedback
    mine = table.c.workspace == workspace
    if since is not None:
        mine &= table.c.created_at > to_micros(since)
    by = (table.c.verdict, table.c.actor, table.c.task_hash)
    counted = select(*by, func.count()).group_by(*by)
    found = (
        row for some in batches(ids) for row in connection.execute(counted.where(mine, table.c.memory_id.in_(some)))
    )
    return [Said(*row) for row in found]
