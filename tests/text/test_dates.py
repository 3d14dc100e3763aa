from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.text.dates import MOST_RANGES, OPEN_END, OPEN_START, time_ranges

NOW = datetime(2026, 11, 18, 15, 30, tzinfo=UTC)
"""A Wednesday."""


def named(text: str, zone: tzinfo = UTC) -> list[tuple[str, str]]:
    """First and last day of each range."""
    ranges = time_ranges(text, now=NOW, zone=zone)
    return [(_day(each.start), _day(each.end - timedelta(seconds=1))) for each in ranges]


def _day(moment: datetime) -> str:
    return moment.date().isoformat()


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("what did we do yesterday?", "2026-11-17", "2026-11-17"),
        ("the day before yesterday", "2026-11-16", "2026-11-16"),
        ("what broke last week", "2026-11-09", "2026-11-15"),
        ("this week", "2026-11-16", "2026-11-22"),
        ("plans for next month", "2026-12-01", "2026-12-31"),
        ("last weekend", "2026-11-14", "2026-11-15"),
        ("the deploy of last year", "2025-01-01", "2025-12-31"),
        ("fixed 2 days ago", "2026-11-16", "2026-11-16"),
        ("a couple of days ago", "2026-11-16", "2026-11-16"),
        ("two weeks ago", "2026-11-02", "2026-11-08"),
        ("in the last 3 days", "2026-11-15", "2026-11-18"),
        ("over the past month", "2026-10-18", "2026-11-18"),
        ("last Monday", "2026-11-16", "2026-11-16"),
        ("next Friday", "2026-11-20", "2026-11-20"),
        ("on Friday", "2026-11-13", "2026-11-13"),
        ("in May 2023", "2023-05-01", "2023-05-31"),
        ("on 7 May 2023", "2023-05-07", "2023-05-07"),
        ("on May 7th, 2023", "2023-05-07", "2023-05-07"),
        ("as said on 8th December, 2023", "2023-12-08", "2023-12-08"),
        ("shared on December 1,2023", "2023-12-01", "2023-12-01"),
        ("Mar 5 2020", "2020-03-05", "2020-03-05"),
        ("on 2023-05-07", "2023-05-07", "2023-05-07"),
        ("at 2023-05-07T10:22:01", "2023-05-07", "2023-05-07"),
        ("in 2023-05", "2023-05-01", "2023-05-31"),
        ("am 07.05.2023", "2023-05-07", "2023-05-07"),
        ("on 25/12/2023", "2023-12-25", "2023-12-25"),
        ("Q3 2024", "2024-07-01", "2024-09-30"),
        ("what happened in 2023?", "2023-01-01", "2023-12-31"),
        ("between 3 and 7 June 2023", "2023-06-03", "2023-06-07"),
        ("between August 11 and August 15 2023", "2023-08-11", "2023-08-15"),
        ("from December 2022 to February 2023", "2022-12-01", "2023-02-28"),
        ("from 2019 to 2021", "2019-01-01", "2021-12-31"),
        ("the week before August 3, 2023", "2023-07-27", "2023-08-02"),
        ("two weeks before August 11, 2023", "2023-07-24", "2023-07-30"),
        ("last May", "2026-05-01", "2026-05-31"),
        ("29 February 2024", "2024-02-29", "2024-02-29"),
    ],
)
def test_a_phrase_names_the_days_people_mean_by_it(text: str, first: str, last: str) -> None:
    assert named(text) == [(first, last)]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("since June 2025", datetime(2025, 6, 1, tzinfo=UTC), OPEN_END),
        ("since June", datetime(2026, 6, 1, tzinfo=UTC), OPEN_END),
        ("after 7 May 2023", datetime(2023, 5, 8, tzinfo=UTC), OPEN_END),
        ("before 2023", OPEN_START, datetime(2023, 1, 1, tzinfo=UTC)),
        ("until May 2023", OPEN_START, datetime(2023, 6, 1, tzinfo=UTC)),
    ],
)
def test_a_phrase_with_one_end_leaves_the_other_open(text: str, start: datetime, end: datetime) -> None:
    (found,) = time_ranges(text, now=NOW, zone=UTC)
    assert (found.start, found.end, found.yearly) == (start, end, False)


@pytest.mark.parametrize("text", ["in May", "on 7 May", "camping in July?", "met on Aug 15th", "between May and July"])
def test_a_month_without_a_year_means_every_year(text: str) -> None:
    (found,) = time_ranges(text, now=NOW, zone=UTC)
    assert found.yearly
    assert NOW - timedelta(days=366) < found.start <= NOW


def test_the_29th_of_february_is_of_the_latest_year_that_has_one() -> None:
    assert named("on 29 February") == [("2024-02-29", "2024-02-29")]


@pytest.mark.parametrize(
    "text",
    [
        "last blurgsday",
        "in 99999",
        "31 February",
        "on 31 February 2023",
        "2023-13-45",
        "year 0",
        "99999999 days ago",
        "999999999 years ago",
        "in the next 999999999 years",
        "05/07/2023",  # 5 July or 7 May
    ],
)
def test_nonsense_names_no_time_and_raises_nothing(text: str) -> None:
    assert named(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "this may fail",
        "May I ask?",
        "May 5 users share one account?",
        "step 7 may fail",
        "clients MAY 2 times",
        "march the troops",
        "a second try",
        "the sun is out",
        "April said so",
        "convert dec 10 to oct 12",
        "last minute change",
        "last week of school",
        "a one-year-old child",
        "in 2048 bytes",
        "wait for 2000 ms",
        "playing Cyberpunk 2077",
        "from April to me",
        "version 2023.05.07",
        "upgrade from 1.2.3 to 10.20.30",
        "10.20.30.2024",
        "error 404",
        "RFC 2119",
        "logs/2023/05/07/app.log",
        "2023-05-07.log",
        "CVE-2023-05",
    ],
)
def test_words_and_numbers_of_other_kinds_name_no_time(text: str) -> None:
    assert named(text) == []


def test_midnight_is_that_of_the_zone() -> None:
    (found,) = time_ranges("yesterday", now=NOW, zone=ZoneInfo("Asia/Tokyo"))
    # In Tokyo it is past midnight, the 19th.
    assert (found.start, found.end) == (datetime(2026, 11, 17, 15, tzinfo=UTC), datetime(2026, 11, 18, 15, tzinfo=UTC))


def test_a_midnight_that_a_change_of_clocks_left_out_begins_the_day_all_the_same() -> None:
    """In São Paulo the clocks went from 00:00 to 01:00 on 4 November 2018."""
    zone = ZoneInfo("America/Sao_Paulo")
    (before,) = time_ranges("on 3 November 2018", now=NOW, zone=zone)
    (after,) = time_ranges("on 4 November 2018", now=NOW, zone=zone)
    assert before.end == after.start == datetime(2018, 11, 4, 3, tzinfo=UTC)
    assert after.end - after.start == timedelta(hours=23)


def test_only_the_first_few_times_of_a_log_are_read() -> None:
    assert len(named(" ".join(f"2023-05-{day:02d}" for day in range(1, 29)))) == MOST_RANGES


WORDS = st.sampled_from(  # what dates are made of, in any order
    "in on since before between and from to last next this the week of May 31 7th February 2023 0 99999 ago days two "  # noqa: SIM905
    "yesterday Q3 2023-02-30 31.12.9999 1/1/2000 Sunday until end mid-August a , ? year".split()
)
ZONES = st.sampled_from(["UTC", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Kiritimati", "Pacific/Apia"])
MOMENTS = st.integers(0, 250_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=60), MOMENTS, ZONES)
def test_any_words_at_any_time_give_ranges_that_begin_before_they_end(text: str, now: datetime, zone: str) -> None:
    for each in time_ranges(text, now=now, zone=ZoneInfo(zone)):
        assert OPEN_START <= each.start < each.end <= OPEN_END
