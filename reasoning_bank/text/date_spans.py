"""Time references as stretches of local wall-clock time: patterns find them, dateutil reads their calendar words.

Dateutil also does the arithmetic of months and years. Loaded only for texts that may name a time (`dates.time_ranges`).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal, ParamSpec, cast

from dateutil.parser import parse
from dateutil.relativedelta import relativedelta

from reasoning_bank.text import date_patterns as patterns

_P = ParamSpec("_P")
Unit = Literal["minute", "hour", "day", "week", "weekend", "month", "quarter", "year"]

_NO_START, _NO_END = datetime(1, 1, 1), datetime(9999, 12, 31)  # noqa: DTZ001 -- wall clock
_MOST_FOUND = 20
_LOOK_BACK = 48
_LEAP_YEAR = 2024
_YEARS_AHEAD = 5
_COMING = frozenset({"next", "coming"})
_FULL_SHORT_MONTHS = frozenset({"may", "june", "july"})
_NAMED_DAYS = {"yesterday": -1, "last night": -1, "today": 0, "tonight": 0, "tomorrow": 1}
_NUMBERS = {
    **dict.fromkeys(("a", "an", "one"), 1),
    **dict.fromkeys(("two", "couple"), 2),
    "three": 3,
    "four": 4,
    "few": 4,
    "five": 5,
    "several": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
}
_SIZES: dict[Unit, tuple[int, int, int]] = {
    "minute": (0, 0, 1),
    "hour": (0, 0, 60),
    "day": (0, 1, 0),
    "week": (0, 7, 0),
    "weekend": (0, 7, 0),
    "month": (1, 0, 0),
    "quarter": (3, 0, 0),
    "year": (12, 0, 0),
}
"""Months, days and minutes of each unit."""


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch in local wall-clock time, naive; `loose` means nothing unless it is one end of "from .. to"."""

    start: datetime
    end: datetime
    yearly: bool = False
    loose: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a text names a stretch; without a span the words look like a date and are none."""

    first: int
    last: int
    span: _Span | None


def find_spans(text: str, now: datetime) -> Iterator[tuple[str, datetime, datetime, bool]]:
    """Phrase, start, end (wall clock, naive) and whether every year is meant, of each time a text names.

    Args:
        text: words parted by single blanks.
        now: wall clock, naive.
    """
    for found in _joined(text, _found(text, now)):
        if found.span:
            yield text[found.first : found.last], found.span.start, found.span.end, found.span.yearly


def _found(text: str, now: datetime) -> list[_Found]:
    """What each form finds; of two that overlap the earlier form in `_FORMS` is kept."""
    kept: list[_Found] = []
    for pattern, read in _FORMS:
        for match in islice(pattern.finditer(text), _MOST_FOUND):
            first, last = match.span()
            if all(last <= other.first or first >= other.last for other in kept):
                kept.append(_Found(first, last, _attempt(read, match, now)))
    return sorted(kept, key=lambda each: each.first)


def _attempt(read: Callable[_P, _Span | None], *args: _P.args, **kwargs: _P.kwargs) -> _Span | None:
    try:
        return read(*args, **kwargs)
    except (ValueError, OverflowError):  # a day that no month has, or a year beyond the calendar
        return None


def _joined(text: str, found: list[_Found]) -> Iterator[_Found]:
    """Spans with what the words before them make of them: "since", "two weeks before", "from .. to"."""
    place = 0
    while place < len(found):
        one = found[place]
        place += 1
        opening = patterns.BETWEEN.search(_before(text, one.first))
        if opening and place < len(found):
            other = found[place]
            if patterns.AND.fullmatch(text[one.last : other.first]):
                place += 1
                yield _Found(one.first, other.last, _attempt(_bridge, one.span, other.span))
                continue
        if one.span and not one.span.loose:
            yield _modified(text, one, one.span)


def _bridge(one: _Span | None, other: _Span | None) -> _Span | None:
    """From the beginning of one to the end of the other; a year named once holds for both."""
    if not one or not other:
        return None
    start, end = one.start, other.end
    if one.yearly:
        start = start.replace(year=other.start.year)
        if start > end:
            start = start.replace(year=start.year - 1)
    elif other.yearly:
        end += _delta("year", start.year - other.start.year)
    return _Span(start, end, yearly=one.yearly and other.yearly) if start < end else None


def _modified(text: str, found: _Found, span: _Span) -> _Found:
    before = _before(text, found.first)
    if shift := patterns.SHIFT.search(before):
        first = found.first - len(shift[0])
        return _Found(first, found.last, _attempt(_shifted, shift, span))
    limit = patterns.LIMIT.search(before)
    if not limit:
        return found
    first, word = found.first - len(limit[0]), limit["word"].lower()
    if word in {"since", "after"}:
        span = _Span(span.start if word == "since" else span.end, _NO_END)
    else:
        span = _Span(_NO_START, span.start if word == "before" else span.end)
    return replace(found, first=first, span=span)


def _shifted(shift: re.Match[str], span: _Span) -> _Span:
    """Of "the week before X" the seven days up to X, of "two weeks before X" the week two weeks earlier."""
    unit, count = _unit(shift["unit"]), shift["count"]
    is_before = shift["way"].lower() == "before"
    if not count:
        step = _delta(unit)
        return _Span(span.start - step, span.start) if is_before else _Span(span.end, span.end + step)
    return _whole(span.start + _delta(unit, -_number(count) if is_before else _number(count)), unit)


# The forms, each a pattern and what it means.

_Reader = Callable[[re.Match[str], datetime], _Span | None]


def _read_numeric(match: re.Match[str], now: datetime) -> _Span | None:
    """2023-05-07, 2023/05/07, 2023-05, 07.05.2023, and 25/12/2023 where only one order is possible."""
    if match["iso"]:
        year, month, day = int(match["iso"]), int(match["iso_month"]), int(match["iso_day"] or 1)
        return _whole(datetime(year, month, day), "day" if match["iso_day"] else "month")  # noqa: DTZ001 -- wall clock
    day, month, year = int(match["first"]), int(match["second"]), int(match["last"])
    if match["joint"] == "/" and day != month:
        if day <= 12 and month <= 12:
            return None
        day, month = (day, month) if day > 12 else (month, day)
    return _whole(datetime(year, month, day), "day")  # noqa: DTZ001 -- wall clock


def _read_month(match: re.Match[str], now: datetime) -> _Span | None:
    """7 May 2023, May 7th, May 2023, in May; without a year every year's."""
    before, name = _before(match.string, match.start()), match["month"]
    day, year = match["day"] or match["day_after"], match["year"]
    if not year and not _is_month(match, before):
        return None
    unit: Unit = "day" if day else "month"
    # A leap year, in which every day exists that exists at all.
    span = _whole(parse(f"{day or 1} {name} {year or _LEAP_YEAR}"), unit)
    if match["day_from"]:
        span = replace(span, start=span.start.replace(day=int(match["day_from"])))
    if year:
        return span
    which = patterns.WHICH_BEFORE.search(before)
    loose = not day and bool(patterns.LOOSE_BEFORE.search(before))
    return _of_some_year(span, now, which=which["which"].lower() if which else "", loose=loose)


def _of_some_year(span: _Span, now: datetime, *, which: str, loose: bool) -> _Span:
    # 29 February is in few years: the latest that has it.
    years = range(now.year + 8 if which == "next" else now.year, now.year - 9, -1)
    candidates = [each for year in years if (each := _attempt(_in_year, span, year))]
    if which == "next":
        return min((each for each in candidates if each.start > now), key=lambda each: each.start)
    if which == "this":
        return candidates[0]
    if which == "last":
        return max((each for each in candidates if each.end <= now), key=lambda each: each.start)
    latest = max((each for each in candidates if each.start <= now), key=lambda each: each.start)
    return replace(latest, yearly=True, loose=loose)


def _in_year(span: _Span, year: int) -> _Span:
    return _Span(span.start.replace(year=year), span.end + _delta("year", year - span.start.year))


def _is_month(match: re.Match[str], before: str) -> bool:
    """Whether a month's name without a year is one: "may" and "march" are verbs, "dec" and "oct" are bases."""
    name, day = match["month"], match["day"] or match["day_after"]
    is_short = len(name.rstrip(".")) < 5 and name.lower() not in _FULL_SHORT_MONTHS
    is_doubtful = name.lower() in {"may", "march"} or is_short
    if is_doubtful and not name.istitle():
        return bool(day and not is_short and patterns.ON.search(before))
    if day:
        # "May 5 users share an account?"
        starts = match["day_after"] and not patterns.ON.search(before) and patterns.SENTENCE_START.search(before)
        return not (is_doubtful and starts)
    if is_short:
        return False
    if which := patterns.WHICH_BEFORE.search(before):
        return not (is_doubtful and which["which"].lower() == "this")
    return bool(patterns.MONTH_BEFORE.search(before) or patterns.LOOSE_BEFORE.search(before))


def _read_year(match: re.Match[str], now: datetime) -> _Span | None:
    """In 2023, since 2019; a number that counts something ("in 2000 bytes") is none."""
    before = _before(match.string, match.start())
    if int(match[0]) > now.year + _YEARS_AHEAD:
        return None
    loose = bool(patterns.LOOSE_BEFORE.search(before))
    if not loose and not patterns.YEAR_BEFORE.search(before):
        return None
    span = _whole(datetime(int(match[0]), 1, 1), "year")  # noqa: DTZ001 -- wall clock
    return replace(span, loose=loose)


def _read_quarter(match: re.Match[str], now: datetime) -> _Span:
    month = 3 * int(match["quarter"]) - 2
    return _whole(datetime(int(match["year"]), month, 1), "quarter")  # noqa: DTZ001 -- wall clock


def _read_named(match: re.Match[str], now: datetime) -> _Span:
    days = _NAMED_DAYS[" ".join(match[0].lower().split())]
    return _whole(now + _delta("day", days), "day")


def _read_ago(match: re.Match[str], now: datetime) -> _Span:
    unit = _unit(match["unit"])
    return _whole(now - _delta(unit, _number(match["count"])), unit)


def _read_which(match: re.Match[str], now: datetime) -> _Span | None:
    """Last week, this year, next Friday; "the past month" and "the last 3 days" reach back from now."""
    which, name = match["which"].lower(), match["name"].lower()
    if name in patterns.WEEKDAYS:
        return None if match["count"] else _weekday(which, patterns.WEEKDAYS.index(name), now)
    unit = _unit(name)
    is_rolling = match["count"] or which == "past" or patterns.WITHIN.search(_before(match.string, match.start()))
    if is_rolling and which != "this":
        step = _delta(unit, _number(match["count"] or "one"))
        return _Span(now, now + step) if which in _COMING else _Span(now - step, now)
    step = 0 if which == "this" else 1 if which in _COMING else -1
    return _whole(now + _delta(unit, step), unit)


def _read_weekday(match: re.Match[str], now: datetime) -> _Span:
    return _weekday("", patterns.WEEKDAYS.index(match["name"].lower()), now)


def _weekday(which: str, number: int, now: datetime) -> _Span:
    """The latest such day, today included; "last" and "next" leave today out, "this" is of this week."""
    today, back = _whole(now, "day").start, (now.weekday() - number) % 7
    if which == "this":
        back = now.weekday() - number
    elif which in _COMING:
        back -= 7
    elif which:
        back = back or 7
    return _whole(today - timedelta(days=back), "day")


def _whole(moment: datetime, unit: Unit) -> _Span:
    """The unit of the calendar that a moment is in; a week begins on Monday."""
    start = moment.replace(second=0, microsecond=0)
    if unit != "minute":
        start = start.replace(minute=0)
    if unit not in {"minute", "hour"}:
        start = start.replace(hour=0)
    if unit in {"week", "weekend"}:
        start -= timedelta(days=start.weekday() - (5 if unit == "weekend" else 0))
    elif unit == "quarter":
        start = start.replace(month=start.month - (start.month - 1) % 3, day=1)
    elif unit in {"month", "year"}:
        start = start.replace(month=1 if unit == "year" else start.month, day=1)
    return _Span(start, start + (timedelta(days=2) if unit == "weekend" else _delta(unit)))


def _delta(unit: Unit, count: int = 1) -> relativedelta:
    months, days, minutes = _SIZES[unit]
    return relativedelta(months=months * count, days=days * count, minutes=minutes * count)


def _unit(name: str) -> Unit:
    return cast("Unit", name.lower())


def _number(text: str) -> int:
    # "A couple of" ends in the word that says how many; "0" is a number too.
    known = [_NUMBERS[word] for word in text.lower().split() if word in _NUMBERS]
    return known[-1] if known else int(text)


def _before(text: str, place: int) -> str:
    return text[max(0, place - _LOOK_BACK) : place]


_FORMS: tuple[tuple[re.Pattern[str], _Reader], ...] = (
    (patterns.NUMERIC, _read_numeric),
    (patterns.MONTH, _read_month),
    (patterns.QUARTER, _read_quarter),
    (patterns.YEAR, _read_year),
    (patterns.NAMED, _read_named),
    (patterns.AGO, _read_ago),
    (patterns.WHICH, _read_which),
    (patterns.WEEKDAY, _read_weekday),
)
"""Stronger forms first: of two that overlap the first is kept."""
