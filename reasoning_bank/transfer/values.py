"""Typed reading of one JSON object's fields; every complaint names the key and what it must be."""

from datetime import UTC, datetime
from typing import TypeVar, cast

from reasoning_bank.errors import InputError
from reasoning_bank.records import EventTime, JsonValue
from reasoning_bank.text.sanity import clean_text

Json = dict[str, JsonValue]
T = TypeVar("T")
_LARGEST_COUNT = 2**63


def read_object(value: JsonValue, name: str) -> Json:
    """The object itself; anything else is an InputError."""
    if not isinstance(value, dict):
        raise InputError(f"{name} must be an object, not {_kind(value)}")
    return value


def read_text(data: Json, key: str) -> str | None:
    """The text under `key`; None when it is absent or null."""
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{key!r} must be text, not {_kind(value)}")
    return clean_text(value, repr(key))


def read_name(data: Json, key: str) -> str | None:
    """A label that sources write as text or as a whole number."""
    value = data.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return read_text(data, key)


def read_texts(data: Json, key: str) -> tuple[str, ...]:
    """The list of texts under `key`; empty when it is absent or null."""
    value = data.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise InputError(f"{key!r} must be a list of texts")
    return tuple(clean_text(cast("str", part), repr(key)) for part in value)


def read_count(data: Json, key: str) -> int | None:
    """The whole number from 0 under `key`; None when it is absent or null."""
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LARGEST_COUNT:
        raise InputError(f"{key!r} must be a whole number from 0, not {value!r}")
    return value


def read_number(data: Json, key: str) -> float | None:
    """The number under `key`; None when it is absent or null."""
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(f"{key!r} must be a number, not {_kind(value)}")
    return float(value)


def read_one_of(data: Json, key: str, allowed: tuple[T, ...], default: T) -> T:
    """The value under `key`, one of `allowed`; the default when it is absent or null."""
    value = data.get(key)
    if value is None:
        return default
    if value not in allowed:
        raise InputError(f"{key!r} must be one of {', '.join(map(str, allowed))}, not {value!r}")
    return cast("T", value)


def read_time(data: Json, *, kept: bool) -> EventTime:
    """When it happened; a time the bank once `kept` is taken back as it is, another must be one we can order by."""
    value = data.get("time")
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise InputError(f"'time' must be ISO 8601 text or an order number, not {_kind(value)}")
    if isinstance(value, str) and not kept:
        try:
            datetime.fromisoformat(value)
        except ValueError as error:
            raise InputError(f"'time' must be ISO 8601 text or an order number, not {value!r}") from error
    return value


def read_moment(data: Json, key: str) -> datetime | None:
    """The aware time under `key`; None when it is absent or null."""
    value = read_text(data, key)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise InputError(f"{key!r} must be an ISO 8601 time, not {value!r}") from error
    if moment.tzinfo is None:
        raise InputError(f"{key!r} must say its offset from UTC, as in 2026-01-31T12:00:00+00:00")
    try:
        moment.astimezone(UTC)
    except OverflowError as error:  # it would be stored, and never read again
        raise InputError(f"{key!r} is before the year 1 or after 9999 in UTC: {value!r}") from error
    return moment


def _kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "text" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"
