"""Bytes a value takes in memory: an estimate from what it consists of, in microseconds."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, cast

_FLAT: Final = frozenset({str, bytes, int, float})
_SHARED: Final = (type(None), bool, type, Enum)
"""There is one of each, whoever holds it."""
_ARRAY: Final = 112
"""Bytes of a numpy array beside its numbers."""


def size_of(value: object) -> int:
    """Bytes of a value and of all it holds; what it holds twice counts once.

    Exact for texts, numbers, containers, dataclasses and arrays that own their numbers; of an object of any other
    class its own bytes alone.
    """
    total, seen, waiting = 0, set[int](), [value]
    while waiting:
        each = waiting.pop()
        if type(each) in _FLAT:
            total += sys.getsizeof(each)
        elif id(each) not in seen and not isinstance(each, _SHARED):
            seen.add(id(each))
            own, inside = _taken_apart(each)
            total += own
            waiting.extend(inside)
    return total


def _taken_apart(value: object) -> tuple[int, Iterable[object]]:
    """Its own bytes, and what else is to be counted."""
    if (numbers := getattr(value, "nbytes", None)) is not None:
        return _ARRAY + cast("int", numbers), ()
    own = sys.getsizeof(value)
    if isinstance(value, Mapping):
        known = cast("Mapping[object, object]", value)
        return own, [*known, *known.values()]
    if isinstance(value, (tuple, list, set, frozenset)):
        return own, cast("Iterable[object]", value)
    return own, [getattr(value, name) for name in _fields(type(value))]


@lru_cache(maxsize=1_024)
def _fields(kind: type) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind)) if is_dataclass(kind) else ()
