from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.records import MemoryItem
from reasoning_bank.retrieval.postings import build_segment, unpack_terms
from reasoning_bank.retrieval.temporal import STATED, rows_stating_times, temporal_scores
from reasoning_bank.storage.timestamps import to_micros, to_seconds
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.dates import TimeRange, time_ranges

NOW = datetime(2026, 11, 18, 15, 30, tzinfo=UTC)


def times(text: str) -> tuple[TimeRange, ...]:
    return time_ranges(text, now=NOW, zone=UTC)


def moments(*days: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([to_seconds(datetime.fromisoformat(day).replace(tzinfo=UTC)) if day else np.nan for day in days])


def test_what_happened_then_fits_and_what_is_further_away_fits_less() -> None:
    occurred = moments("2023-05-01", "2023-05-31T23:59", "2023-06-02", "2023-06-20", "2023-04-20", "2020-01-01")
    scores = temporal_scores(times("in May 2023"), occurred)
    assert scores[0] == scores[1] == 1.0
    assert 1 > scores[2] > scores[3] > scores[5]
    assert 1 > scores[4] > scores[5]
    assert scores[5] < 1e-6


def test_a_query_without_a_time_fits_nothing() -> None:
    assert not temporal_scores((), moments("2023-05-01", "")).any()
    assert temporal_scores(times("yesterday"), np.empty(0)).shape == (0,)


def test_a_memory_nobody_dated_fits_nothing() -> None:
    assert temporal_scores(times("since 2020"), moments("", "2023-05-01")).tolist() == [0.0, 1.0]
    assert not temporal_scores(times("in May"), moments("", "")).any()


def test_a_month_without_a_year_fits_in_every_year() -> None:
    occurred = moments("2019-05-15", "2024-05-15", "2026-05-31", "2024-11-15")
    assert temporal_scores(times("in May"), occurred) == pytest.approx([1, 1, 1, 0], abs=0.01)


def test_the_first_of_march_east_of_greenwich_is_a_day_in_every_year() -> None:
    start = datetime(2024, 2, 29, 16, tzinfo=UTC)
    first_of_march = TimeRange(start, start + timedelta(days=1), "1 March", yearly=True)
    occurred = moments("2023-03-01T10:00", "2024-03-01T10:00")
    assert temporal_scores((first_of_march,), occurred).tolist() == [1.0, 1.0]


def test_a_memory_that_held_then_fits() -> None:
    since = np.array([to_micros(datetime(2023, 1, 1, tzinfo=UTC)), -np.inf, -np.inf], np.float64)
    until = np.array([to_micros(datetime(2023, 6, 1, tzinfo=UTC)), to_micros(datetime(2023, 4, 1, tzinfo=UTC)), np.inf])
    scores = temporal_scores(times("in May 2023"), moments("", "", ""), valid=(since, until.astype(np.float64)))
    assert scores.tolist() == [1.0, 0.0, 0.0]


def test_memories_that_state_a_time_are_found_by_their_words() -> None:
    items = [
        MemoryItem("I went to the support group yesterday", actor="Ada", time="2023-05-08"),
        MemoryItem("It was great", actor="Ada", time="2023-05-08"),
        MemoryItem("We moved two years ago"),
        MemoryItem("Today I am fine"),
    ]
    segment = build_segment(unpack_terms([analyse(item).packed() for item in items]), 0)
    stating = rows_stating_times((segment,))
    assert stating.tolist() == [0, 2]
    assert temporal_scores((), moments("", "", "", ""), stating=stating).tolist() == [STATED, 0.0, STATED, 0.0]
    dated = moments("2023-05-08", "2023-05-08", "", "")
    assert temporal_scores(times("on 8 May 2023"), dated, stating=stating).tolist() == [1.0, 1.0, STATED, 0.0]
    assert rows_stating_times(()).tolist() == []


@given(
    st.sampled_from(["in May", "last week", "before 2023", "since yesterday", "on 7 May 2023", "in 1990 or in 2024"]),
    st.lists(st.floats(-1e11, 1e11) | st.just(float("nan")), max_size=20),
)
def test_a_fit_is_between_0_and_1_and_does_not_depend_on_the_others(text: str, occurred: list[float]) -> None:
    named, rows = times(text), np.array(occurred, np.float64)
    scores = temporal_scores(named, rows)
    assert ((scores >= 0) & (scores <= 1)).all()
    alone = [float(temporal_scores(named, rows[place : place + 1])[0]) for place in range(len(rows))]
    assert scores.tolist() == pytest.approx(alone)
