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


def looked_at(trace_id: str) -> str:
    """The idempotency key that is taken once a language model has looked at a trace, or shall not any more."""
    return f"distilled-{trace_id}"


def promise(connection: Connection, workspace: str, kind: str, ids: Sequence[str], *, now: datetime) -> None:
    """Queue work on memories, unless there are none."""
    if ids:
        outbox.enqueue(connection, workspace, kind, {"ids": list[JsonValue](ids)}, now=now)
