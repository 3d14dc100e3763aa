"""Many questions, prompts or traces in one call: answers and errors in the order of the items, a few at a time."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar, Unpack, cast

from reasoning_bank.compression.results import Compression, CompressionOptions
from reasoning_bank.concurrency.parallel import run_parallel
from reasoning_bank.errors import ReasoningBankError
from reasoning_bank.records import Query, Retrieval

T = TypeVar("T")

AT_ONCE = 8
"""Items under way at the same time: enough to share runs of the model, few enough to leave others their turn."""


class Batches:
    """What a bank does for lists; one item that is refused or fails takes nothing from the others.

    Args:
        retrieve: one search, see `ReasoningBank.retrieve`.
        compress: one compression, see `ReasoningBank.compress`.
    """

    def __init__(
        self,
        *,
        retrieve: Callable[[str, Query], Awaitable[Retrieval]],
        compress: Callable[..., Awaitable[Compression]],
    ) -> None:
        self._retrieve = retrieve
        self._compress = compress

    async def retrieve_many(self, workspace: str, queries: Sequence[Query]) -> list[Retrieval | ReasoningBankError]:
        """For each query what `retrieve` answers, or the error it would raise."""
        return await in_order([partial(self._retrieve, workspace, query) for query in queries])

    async def compress_many(
        self, prompts: Sequence[str], **options: Unpack[CompressionOptions]
    ) -> list[Compression | ReasoningBankError]:
        """For each prompt what `compress` answers with these options, or the error it would raise."""
        return await in_order([partial(self._compress, prompt, **options) for prompt in prompts])


async def in_order(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T | ReasoningBankError]:
    """What each call returned, or was refused with, in their order; a few are under way at once. A bug is raised."""
    done = await run_parallel(dict(enumerate(calls)), max_workers=AT_ONCE)
    for error in done.errors.values():
        if not isinstance(error, ReasoningBankError):
            raise error
    outcomes = {**done.results, **cast("dict[int, ReasoningBankError]", done.errors)}
    return [outcomes[number] for number in range(len(calls))]
