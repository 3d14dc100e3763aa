"""How a room tells what its work took, without knowing who listens."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeAlias

Observe: TypeAlias = Callable[[str, float, bool], object]
"""Is told an operation, the seconds one call of it took, and whether it failed; quick, and safe in any thread."""


def unobserved(_operation: str, _seconds: float, _failed: bool, /) -> None:
    """Tell nobody."""


class Timed:
    """Times its `with` block as one call of an operation; an error counts as its failure and passes on.

    Who is cancelled has not failed. A class, because a generator would take longer than the observation itself.
    """

    __slots__ = ("_observe", "_operation", "_start", "_timer")

    def __init__(self, observe: Observe, operation: str, *, timer: Callable[[], float] = time.perf_counter) -> None:
        self._observe = observe
        self._operation = operation
        self._timer = timer
        self._start = 0.0

    def __enter__(self) -> None:
        self._start = self._timer()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._observe(self._operation, self._timer() - self._start, kind is not None and issubclass(kind, Exception))
