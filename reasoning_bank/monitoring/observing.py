"""How a room tells what its work took, without knowing who listens."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias

Observe: TypeAlias = Callable[[str, float, bool], object]
"""Is told an operation, the seconds one call of it took, and whether it failed; quick, and safe in any thread."""


def unobserved(_operation: str, _seconds: float, _failed: bool, /) -> None:
    """Tell nobody."""


@contextmanager
def observed(observe: Observe, operation: str, *, timer: Callable[[], float] = time.perf_counter) -> Generator[None]:
    """Time the block as one call of an operation; an exception counts as its failure and passes on."""
    start = timer()
    failed = True
    try:
        yield
        failed = False
    finally:
        observe(operation, timer() - start, failed)
