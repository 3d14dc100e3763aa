"""What a call was given, as a key under which no other call's result can be found."""

from collections.abc import Hashable
from dataclasses import fields, is_dataclass
from typing import Any, cast


def told_apart(value: Any) -> Hashable:
    """What is equal for equal values of the same types only: 1, 1.0, True and "1" are four.

    Raises:
        TypeError: nothing can be said of two such values; names the type.
    """
    match value:
        case dict():
            items = cast("dict[Any, Any]", value).items()
            return ("dict", *sorted((repr(key), told_apart(each)) for key, each in items))
        case list() | tuple():
            parts = cast("list[Any] | tuple[Any, ...]", value)
            return (type(parts).__name__, *map(told_apart, parts))
        case bool() | int() | float() | str() | bytes() | None:
            return (type(value).__name__, repr(value))
        case Hashable() if is_dataclass(value) and not isinstance(value, type):
            its = tuple((each.name, told_apart(getattr(value, each.name))) for each in fields(value))
            return (f"{type(value).__module__}.{type(value).__qualname__}", *its)
        case Hashable():
            return (type(value).__qualname__, value)
        case _:
            raise TypeError(f"a {type(value).__name__} cannot be compared: send plain values, such as texts and lists")
