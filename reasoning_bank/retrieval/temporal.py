"""Time as evidence: what happened when a query says, and what says when, for a query that asks. It never filters."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.retrieval.fusion import Scores
from reasoning_bank.retrieval.postings import IntArray, KeyArray, Segment, find
from reasoning_bank.storage.timestamps import to_seconds
from reasoning_bank.text.analyser import term_key, words
from reasoning_bank.text.dates import TimeRange

TEMPORAL_BOOST = 2.0
"""Standard deviations of the fused score that a memory gains that happened when the query says; added after neighbours
have shared their scores.

Dated questions of chats: nDCG@10 .59 without, .61 with .5 or 1, .62 with 2 or 3. Where dates say nothing about what is
asked, 1.5 harms nothing and 3 costs .02 of these questions.
"""
STATED = 0.375
"""How well a memory that states a time fits a query that asks for one (`Intent.asks_when`): .75 standard deviations.

Questions of chats that ask when: nDCG@10 .74 without, .77 with .5 to 1 of them; order unknown R@10 .86 and .91.
"""
FALL = 0.5
"""Distance from a range, as a share of its length, at which the fit has fallen to 1/e (.25-1 measure the same)."""
LEAST_FALL_S = 2 * 86_400.0
"""At least two days: what happened on Saturday is told on Monday (1-7 days measure the same)."""
MOST_FALL_S = 30 * 86_400.0
# Scales away from a range where a fit, .0003, is taken for none.
_REACH = 8.0
_MOST_YEARS = 30
_MICROSECONDS = 1e6
# Not "today" and "recently", which are said in passing.
_STATING = (
    *("yesterday", "tonight", "tomorrow", "ago", "last", "next", "week", "weekend", "month", "year"),
    *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
)


def temporal_scores(
    times: Sequence[TimeRange],
    occurred: Scores,
    *,
    valid: tuple[Scores, Scores] | None = None,
    stating: IntArray | None = None,
) -> Scores:
    """How well each memory fits the best of the times, (n,) float64 in 0..1; all 0 when it names and asks for none.

    Inside a range the fit is 1, outside exp(-distance / scale), the scale half the range, within 2 to 30 days; 0 beyond
    eight scales.

    Args:
        times: what the query names; a yearly one counts in each year memories are from (30 years at most).
        occurred: (n,) seconds since 1970 of when each happened, nan where nobody said.
        valid: (from, to) in microseconds since 1970, (n,) each, infinite where open: a memory that says when it
            holds fits a time in which it holds.
        stating: rows that state a time (`rows_stating_times`), where the query asks for one; they fit by `STATED`.
    """
    scores = np.zeros(len(occurred), np.float64)
    if stating is not None:
        scores[stating] = STATED
    for start, end in _stretches(times, occurred):
        near, fit = _fit(occurred, start, end)
        scores[near] = np.maximum(scores[near], fit)
        if valid is not None:
            scores[_held(valid, start, end)] = 1.0
    return scores


def rows_stating_times(segments: Sequence[Segment]) -> IntArray:
    """Rows whose text says when something happens relative to its own date: "yesterday", "two weeks ago".

    Dates themselves tell nothing here: every dated memory is indexed with its own.
    """
    return np.unique(find(segments, _stating_keys()).rows).astype(np.int64)


@cache
def _stating_keys() -> KeyArray:
    terms = {term for word in _STATING for term in words(word)}
    return np.array(sorted(term_key("word", term) for term in terms), dtype=np.uint64)


def _fit(occurred: Scores, start: float, end: float) -> tuple[NDArray[np.intp], Scores]:
    """Rows not far from a stretch, and how well they fit it."""
    scale = min(max(FALL * (end - start), LEAST_FALL_S), MOST_FALL_S)
    # An exponential of each of 100,000 rows takes milliseconds, two comparisons do not; nan passes neither.
    near = np.flatnonzero((occurred > start - _REACH * scale) & (occurred < end + _REACH * scale))
    distance = np.maximum(np.maximum(start - occurred[near], occurred[near] - end), 0.0)
    return near, np.exp(-distance / scale)


def _held(valid: tuple[Scores, Scores], start: float, end: float) -> NDArray[np.bool_]:
    since, until = valid
    is_bounded = np.isfinite(since) | np.isfinite(until)
    return is_bounded & (since < end * _MICROSECONDS) & (until > start * _MICROSECONDS)


def _stretches(times: Iterable[TimeRange], occurred: Scores) -> Iterator[tuple[float, float]]:
    """Start and end of each time in seconds since 1970; of yearly ones once for every year memories are from."""
    for time in times:
        if time.yearly:
            yield from _each_year(time, occurred)
        else:
            yield to_seconds(time.start), to_seconds(time.end)


def _each_year(time: TimeRange, occurred: Scores) -> Iterator[tuple[float, float]]:
    known = occurred[np.isfinite(occurred)]
    if not len(known):
        return
    length = (time.end - time.start).total_seconds()
    oldest = max(_year(known.min()) - 1, time.start.year - _MOST_YEARS)
    for year in range(oldest, min(_year(known.max()) + 1, time.start.year + _MOST_YEARS) + 1):
        start = to_seconds(_in_year(time.start, year))
        yield start, start + length


def _year(seconds: float) -> int:
    return int(np.datetime64(int(seconds), "s").astype("datetime64[Y]").astype(np.int64)) + 1970


def _in_year(moment: datetime, year: int) -> datetime:
    # Midnight of 1 March east of Greenwich is 29 February in UTC, in some years the 28th.
    is_leap_day = (moment.month, moment.day) == (2, 29)
    return moment.replace(year=year, day=28 if is_leap_day and year % 4 else moment.day)
