"""Moments as whole microseconds since 1970 UTC: exact both ways, and one integer comparison in SQL."""

from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@overload
def to_micros(moment: datetime) -> int: ...
@overload
def to_micros(moment: None) -> None: ...
@overload
def to_micros(moment: datetime | None) -> int | None: ...
def to_micros(moment: datetime | None) -> int | None:
    """Microseconds since 1970 UTC; a moment without a zone is read as UTC."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC moment of `to_micros`."""
    return _EPOCH + timedelta(microseconds=micros)


def from_micros_or_none(micros: int | None) -> datetime | None:
    """The aware UTC moment of `to_micros`, None for None."""
    return None if micros is None else from_micros(micros)


def to_seconds(moment: datetime) -> float:
    """Seconds since 1970 UTC; unlike `datetime.timestamp` it knows year 1 and reads a moment without a zone as UTC."""
    return to_micros(moment) / 1_000_000
