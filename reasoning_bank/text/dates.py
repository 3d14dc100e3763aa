"""Time references in a text ("last week", "in May 2023", "between 3 and 7 June") as ranges of time.

Words that are more often something else ("may", "march", "second", "sun") are dates only where nothing else is
likely, and what names no time ("31 February", "last blurgsday") is silently no reference. English and numeric
dates only.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

OPEN_START = datetime(1, 1, 2, tzinfo=UTC)
"""Start of a range that has none ("before June"); a day inside what datetime can hold, so that zones fit."""
OPEN_END = datetime(9999, 12, 30, tzinfo=UTC)
"""End of a range that has none ("after June")."""
MOST_RANGES = 4
"""References read of one text: a log has thousands, a question one or two."""

# Few texts get further.
_HINT = re.compile(
    r"\b(?:(?:minute|hour|day|week|weekend|month|quarter|year)s?|yesterday|last night|today|tonight|tomorrow"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|q[1-4]|(?:19|20)\d\d"
    r"|jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b|[./](?:19|20)\d\d",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A stretch of time that a text names.

    Attributes:
        start: its first moment, aware UTC.
        end: the first moment after it, aware UTC.
        phrase: the words that name it.
        yearly: True when no year is named ("in May"): the same stretch of every year counts; `start` is the latest.
    """

    start: datetime
    end: datetime
    phrase: str
    yearly: bool = False


def time_ranges(text: str, *, now: datetime, zone: tzinfo) -> tuple[TimeRange, ...]:
    """The times a text names, in the order it names them, at most `MOST_RANGES`.

    Args:
        text: read in linear time; callers bound it.
        now: the clock, aware.
        zone: where "yesterday" begins at midnight.
    """
    if not _HINT.search(text):
        return ()
    from reasoning_bank.text.date_spans import find_spans  # noqa: PLC0415 -- 40 ms, for few texts

    named = find_spans(" ".join(text.split()), now.astimezone(zone).replace(tzinfo=None))
    ranges = (_in_utc(phrase, start, end, zone=zone, yearly=yearly) for phrase, start, end, yearly in named)
    return tuple(each for each in ranges if each)[:MOST_RANGES]


def _in_utc(phrase: str, start: datetime, end: datetime, *, zone: tzinfo, yearly: bool) -> TimeRange | None:
    first, last = (_utc(moment, zone) for moment in (start, end))
    return TimeRange(first, last, phrase, yearly) if first < last else None


def _utc(moment: datetime, zone: tzinfo) -> datetime:
    # A time that a change of clocks leaves out is read with the offset before it: no range is lost, none overlaps.
    try:
        return min(max(moment.replace(tzinfo=zone).astimezone(UTC), OPEN_START), OPEN_END)
    except (ValueError, OverflowError):  # the offset leads out of the calendar
        return OPEN_START if moment.year < 5000 else OPEN_END
