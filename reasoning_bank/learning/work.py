"""Work that storing promises: the kinds of outbox rows, and who puts them there, in the transaction that needs them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from reasoning_bank.records import JsonValue
from reasoning_bank.storage import outbox

EMBED: Final = "embed"
"""Asks for vectors; payload {"ids": [memory id, …]}."""
CONSOLIDATE: Final = "consolidate"
"""Asks what new memories repeat or contradict; payload {"ids": [memory id, …]}. Imported rows never come here."""
DISTIL: Final = "distil"
"""Asks a language model what a trace teaches; payload {"trace_id": …, "key": its idempotency key}."""
AT_ONCE: Final = 2
"""Memories in one row of the outbox. A worker takes some dozen rows, so that its batch keeps a model busy for about a
second: that is how long what was just stored may wait behind an import."""


def looked_at(trace_id: str) -> str:
    """The idempotency key that is taken once a language model has looked at a trace, or shall not any more."""
    return f"distilled-{trace_id}"


def promise(
    connection: Connection,
    workspace: str,
    kind: str,
    ids: Sequence[str],
    *,
    now: datetime,
    priority: int = outbox.FRESH,
) -> None:
    """Queue work on memories, unless there are none: a few at a time, so that what is more urgent can go between."""
    parts: list[JsonValue] = [
        {"ids": list[JsonValue](ids[start : start + AT_ONCE])} for start in range(0, len(ids), AT_ONCE)
    ]
    outbox.enqueue(connection, workspace, kind, *parts, now=now, priority=priority)
