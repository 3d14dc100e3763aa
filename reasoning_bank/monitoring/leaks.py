"""Does a piece of work leave something behind each time it is done? Looked at where Python allocates (tracemalloc)."""

import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, cast

LEAST_BYTES: Final = 64.0
"""Per call, in every stretch: less is what the interpreter and its containers hold in reserve."""
_OWN_FILES: Final = (__file__, tracemalloc.__file__)
_LARGE: Final = 64
_CACHED: Final = type(lru_cache(lambda: None))


@dataclass(frozen=True, slots=True)
class Growth:
    """A line whose allocations grew between any two marks.

    Attributes:
        place: file:line that allocated.
        bytes_per_call: kept of each call, on average.
        blocks_per_call: objects kept of each call, on average.
    """

    place: str
    bytes_per_call: float
    blocks_per_call: float


async def growing(
    work: Callable[[int], Awaitable[object]],
    *,
    calls: int = 100,
    marks: int = 4,
    warm_up: int | None = None,
    bounded: tuple[str, ...] = (),
) -> list[Growth]:
    """The lines that keep more and more while a piece of work is repeated, those that keep most first.

    A line that grew in each stretch between two marks is one; a cache that fills up, or a table that grew once, is
    not: what `functools.lru_cache` holds up to a bound is emptied before each look. What libraries allocate outside
    of Python is not seen.

    Args:
        work: is given the number of its call, from 0 on.
        calls: in each stretch.
        marks: looks, at least 3; between two of them lies a stretch.
        warm_up: calls before the first mark; by default as many as a stretch has.
        bounded: ends of names of files whose growth ends later than any check could last.
    """
    if marks < 3:
        raise ValueError(f"{marks} marks tell growth from chance as little as a coin does: use 3 or more")
    number = 0
    snapshots: list[tracemalloc.Snapshot] = []
    was_tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        for stretch in range(marks):
            for _ in range((calls if warm_up is None else warm_up) if stretch == 0 else calls):
                await work(number)
                number += 1
            _empty_bounded_caches()
            gc.collect()
            snapshots.append(tracemalloc.take_snapshot())
    finally:
        if not was_tracing:
            tracemalloc.stop()
    grown = [growth for growth in _grown(snapshots, calls) if not growth.place.rpartition(":")[0].endswith(bounded)]
    return sorted(grown, key=lambda growth: growth.bytes_per_call, reverse=True)


def _grown(snapshots: list[tracemalloc.Snapshot], calls: int) -> Iterator[Growth]:
    stretches = [_differences(before, after) for before, after in pairwise(snapshots)]
    for place in stretches[0]:
        sizes, blocks = zip(*(stretch.get(place, (0, 0)) for stretch in stretches), strict=True)
        each = Growth(place, sum(sizes) / len(sizes) / calls, sum(blocks) / len(blocks) / calls)
        # A leak grows by the same in every stretch; chance and what fills up do not.
        if min(sizes) >= LEAST_BYTES * calls:
            yield each


def _empty_bounded_caches() -> None:
    for each in gc.get_objects():
        # Not isinstance: it asks an object for its class, and some of other libraries answer with a warning.
        if type(each) is _CACHED:
            bound = cast("dict[str, int | None]", each.cache_parameters())["maxsize"]
            # A small one is full before the first look; what it keeps, a file perhaps, is not to be read anew.
            if bound is not None and bound >= _LARGE:
                each.cache_clear()


def _differences(before: tracemalloc.Snapshot, after: tracemalloc.Snapshot) -> dict[str, tuple[int, int]]:
    return {
        f"{each.traceback[0].filename}:{each.traceback[0].lineno}": (each.size_diff, each.count_diff)
        for each in after.compare_to(before, "lineno")
        if each.traceback[0].filename not in _OWN_FILES
    }
