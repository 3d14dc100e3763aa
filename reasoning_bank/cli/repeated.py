"""The work that `leaks` repeats."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.monitoring.leaks import Growth, growing
from reasoning_bank.records import NewTrace, Query
from reasoning_bank.settings import Settings

TASKS: Final = 20
"""Different texts: with few of them, whatever is kept of a text is kept before the first look."""
WARM_UP: Final = 3 * TASKS
SMALL_CACHES: Final[Mapping[str, Mapping[str, int]]] = {
    name: {"size": TASKS // 2}
    for name in (
        *("memories", "retrieval", "intents", "queries", "texts", "contexts", "profiles", "tools", "calculations"),
    )
}
"""Full before the first look, and evicting from then on."""
BOUNDED: Final = ("monitoring/histogram.py", "monitoring/windows.py")
"""Figures fill their slots for a day, up to a bound that has a test of its own."""


async def grown_in_new_bank(settings: Settings, calls: int) -> AsyncIterator[tuple[str, list[Growth]]]:
    """Yield each kind of work, and the lines that keep more and more while a new bank does it."""
    async with ReasoningBank(settings) as bank:

        async def store(number: int) -> None:
            task = f"repair the reader of file format {number % TASKS}"
            await bank.store_trace("stored", NewTrace(task, "failure"), idempotency_key=f"leaks-{number}")
            if number % TASKS == 0:
                await bank.rooms.worker.drain(60)

        async def search(number: int) -> None:
            await bank.retrieve("searched", _query(number))

        async def tell(_number: int) -> None:
            await bank.stats("searched")

        for number in range(3 * TASKS):
            await bank.store_trace("searched", NewTrace(f"repair the reader of file format {number}", "success"))
        await bank.rooms.worker.drain(60)
        for work, call in {"search": search, "store": store, "stats": tell}.items():
            yield work, await growing(call, calls=calls, warm_up=max(calls, WARM_UP), bounded=BOUNDED)


async def grown_in_own_bank(settings: Settings, workspace: str, calls: int) -> AsyncIterator[tuple[str, list[Growth]]]:
    """The same for searches of a workspace as it is."""
    async with ReasoningBank(settings) as bank:

        async def search(number: int) -> None:
            await bank.retrieve_everywhere(_query(number), workspaces=[workspace])

        yield "search", await growing(search, calls=calls, warm_up=max(calls, WARM_UP), bounded=BOUNDED)


def _query(number: int) -> Query:
    return Query(f"how to repair the reader of file format {number % TASKS}", min_score=0.0)
