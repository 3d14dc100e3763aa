"""What a verdict on served memories sets off: counters, trust, and what it decides between contradicting ones."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from reasoning_bank.learning.contradiction import reconsider
from reasoning_bank.learning.trusting import review
from reasoning_bank.records import Counters, Verdict
from reasoning_bank.storage import feedback, lineage


def rate(
    connection: Connection,
    workspace: str,
    ids: Iterable[str],
    verdict: Verdict,
    *,
    now: datetime,
    note: str | None = None,
    actor: str | None = None,
) -> dict[str, Counters]:
    """Counts a verdict on each memory and draws the consequences; the new counters by id.

    What was merged since it was served is rated in the memory that took it in.

    Raises:
        NotFoundError: naming the ids this workspace does not have; nothing is counted then.
    """
    asked = list(dict.fromkeys(ids))
    stands = lineage.successors(connection, workspace, asked)
    rated = [stands.get(id_, id_) for id_ in asked]
    counters = feedback.add(connection, workspace, rated, verdict, now=now, note=note, actor=actor)
    if verdict != "ignored":
        for id_ in counters:
            review(connection, workspace, id_, now=now)
            reconsider(connection, workspace, id_, now=now)
    return {id_: counters[by] for id_, by in zip(asked, rated, strict=True)}
