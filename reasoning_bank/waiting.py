"""Waits for what the background does: vectors of what was stored, and a language model's look at a trace.

Any process on a bank may do the work, so only the bank itself can tell; it is asked a few times a second.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

import anyio

from reasoning_bank import reports
from reasoning_bank.opening import Rooms
from reasoning_bank.records import StoreResult
from reasoning_bank.storage import embeddings

_POLL_S: Final = 0.2


async def until_searchable(
    rooms: Rooms, *, now: Callable[[], datetime], progress: Callable[[int, int], object] | None
) -> None:
    """Wait until every live memory has its vectors; see `ReasoningBank.wait_until_searchable`."""
    await rooms.model.loader.wait_ready()
    model_id = rooms.model.embedder.identity.model_id
    while True:
        coverage = await rooms.database.read(lambda c: embeddings.coverage(c, model_id))
        if progress is not None:
            progress(coverage.embedded, coverage.live)
        if coverage.embedded >= coverage.live:
            return
        if not rooms.models.is_moving:
            await rooms.database.read(lambda c: reports.refuse_given_up(c, model_id, now=now()))
        rooms.worker.wake()
        await asyncio.sleep(_POLL_S)


async def until_looked_at(rooms: Rooms, workspace: str, result: StoreResult, *, wait_s: float) -> StoreResult:
    """Return the answer once a language model has looked at its trace, or as it is when the time is up."""
    latest = result
    with anyio.move_on_after(wait_s):
        while latest.queued:
            await anyio.sleep(_POLL_S)
            found = await rooms.database.read(
                lambda c: rooms.learning.recorder.answer(c, workspace, result.idempotency_key)
            )
            latest = found or latest
    return replace(latest, replayed=result.replayed)
