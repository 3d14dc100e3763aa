"""Many questions, prompts or traces in one call: answers and errors in the order of the items, a few at a time."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, TypeVar, Unpack, cast

import anyio.to_thread

from reasoning_bank.bounds import named_workspace
from reasoning_bank.compression.results import Compression, CompressionOptions
from reasoning_bank.concurrency.parallel import run_parallel
from reasoning_bank.errors import InputError, ReasoningBankError
from reasoning_bank.records import Query, Retrieval, Source, StoreResult

if TYPE_CHECKING:  # a server imports this before its handshake
    from reasoning_bank.learning.recording import Told
    from reasoning_bank.opening import Rooms

T = TypeVar("T")

AT_ONCE = 8
"""Items under way at the same time: enough to share runs of the model, few enough to leave others their turn."""
TRACES_AT_ONCE = 100
"""Traces of one transaction, which keeps other writers waiting for about a millisecond each."""
LIBRARY = Source("library")


class Batches:
    """What a bank does for lists; one item that is refused or fails takes nothing from the others.

    Args:
        rooms: what the open bank consists of.
        retrieve: one search, see `ReasoningBank.retrieve`.
        compress: one compression, see `ReasoningBank.compress`.
        measure: times a block as an operation of a name.
    """

    def __init__(
        self,
        rooms: "Rooms",
        *,
        retrieve: Callable[[str, Query], Awaitable[Retrieval]],
        compress: Callable[..., Awaitable[Compression]],
        measure: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._rooms = rooms
        self._retrieve = retrieve
        self._compress = compress
        self._measure = measure

    async def retrieve_many(self, workspace: str, queries: Sequence[Query]) -> list[Retrieval | ReasoningBankError]:
        """For each query what `retrieve` answers, or the error it would raise."""
        return await in_order([partial(self._retrieve, workspace, query) for query in queries])

    async def compress_many(
        self, prompts: Sequence[str], **options: Unpack[CompressionOptions]
    ) -> list[Compression | ReasoningBankError]:
        """For each prompt what `compress` answers with these options, or the error it would raise."""
        return await in_order([partial(self._compress, prompt, **options) for prompt in prompts])

    async def store_traces(
        self, workspace: str, traces: "Sequence[Told]", *, source: Source = LIBRARY
    ) -> list[StoreResult | InputError]:
        """For each trace its answer, durable when this returns, or why it cannot be stored as it is.

        A hundred share a transaction; storing the same list again stores what is missing. Their background work gives
        way to that of traces stored one by one.

        Raises:
            InputError: the workspace cannot be named so.
            BusyError: too much background work waits; nothing is stored, and the error says when to try again.
            StorageError: what was not answered was not written.
        """
        from reasoning_bank.storage import outbox  # noqa: PLC0415 -- a server imports this module before its handshake

        most = self._rooms.settings.background.max_pending
        await self._rooms.database.read(lambda connection: outbox.refuse_above(connection, most))
        record = partial(self._rooms.learning.recorder.record_many, named_workspace(workspace), source=source)
        results: list[StoreResult | InputError] = []
        for start in range(0, len(traces), TRACES_AT_ONCE):
            with self._measure("store_traces"):
                results += await anyio.to_thread.run_sync(record, traces[start : start + TRACES_AT_ONCE])
        self._rooms.worker.wake()
        return results


async def in_order(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T | ReasoningBankError]:
    """What each call returned, or was refused with, in their order; a few are under way at once. A bug is raised."""
    done = await run_parallel(dict(enumerate(calls)), max_workers=AT_ONCE)
    for error in done.errors.values():
        if not isinstance(error, ReasoningBankError):
            raise error
    outcomes = {**done.results, **cast("dict[int, ReasoningBankError]", done.errors)}
    return [outcomes[number] for number in range(len(calls))]
