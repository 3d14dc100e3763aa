"""Lists cut to what one SQL statement takes."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

# SQLite takes 32,766 parameters in a statement; a few hundred are as fast and keep compiled statements small.
_LARGEST = 500


def batches(values: Iterable[T], size: int = _LARGEST) -> Iterator[list[T]]:
    """The different values in order of first occurrence, at most `size` at a time."""
    rest = iter(dict.fromkeys(values))
    while batch := list(islice(rest, size)):
        yield batch
