"""Which strategies found what was served, and what of it was later rated helpful."""

from collections.abc import Callable, Sequence

from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.records import Retrieval, Strategy

REMEMBERED = 10_000
REMEMBERED_S = 86_400.0
"""A rating comes after the task: who found a memory is remembered for a day, of the latest served."""


class Contributions:
    """Counts, per strategy, memories returned and memories rated helpful, in this process.

    Args:
        count: adds one to a named counter.
    """

    def __init__(self, count: Callable[[str], object]) -> None:
        self._count = count
        self._finders: MemoryCache[tuple[Strategy, ...]] = MemoryCache(REMEMBERED, REMEMBERED_S)

    def served(self, workspace: str, found: Retrieval) -> None:
        """Count who found the memories of an answer."""
        for retrieved, strategies in zip(found.memories, found.contributors, strict=True):
            self._finders.put((workspace, retrieved.memory.id), strategies)
            for strategy in strategies:
                self._count(f"returned.{strategy}")

    def helped(self, workspace: str, ids: Sequence[str]) -> None:
        """Count who had found memories that helped."""
        for memory_id in ids:
            for strategy in self._finders.get((workspace, memory_id)) or ():
                self._count(f"helped.{strategy}")
