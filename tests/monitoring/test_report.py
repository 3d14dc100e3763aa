"""Reports on a period: figures, thresholds that were passed, trends; as text, JSON and a page; before and after."""

import json
import random
import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reasoning_bank.errors import InputError
from reasoning_bank.monitoring.advice import run_system_optimization
from reasoning_bank.monitoring.alerts import read_thresholds
from reasoning_bank.monitoring.histogram import Histogram
from reasoning_bank.monitoring.pages import page_of, text_of
from reasoning_bank.monitoring.report import Report, compared, period, report_of
from reasoning_bank.monitoring.rollups import Rollup, as_snapshot, of_durations
from reasoning_bank.monitoring.trials import Trial

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def quarter(number: int, *, ms: float, hits: int) -> dict[tuple[int, str], Rollup]:
    chance, durations = random.Random(number), Histogram()
    for _ in range(250):
        durations.observe(ms / 1000 * chance.lognormvariate(0, 0.3))
    start = int(NOON.timestamp()) + 900 * number
    return {
        (start, "retrieve_memory"): of_durations(durations),
        (start, "cache.retrieval.hits"): Rollup("counter", total=hits),
        (start, "cache.retrieval.misses"): Rollup("counter", total=250 - hits),
        (start, "cache.retrieval.missed_by_size"): Rollup("counter", total=(250 - hits) / 2),
        (start, "process.rss_bytes"): Rollup("gauge", 3, 0, 9e8, 2e8, 4e8, 3e8),
    }


def reported(*, ms: float, hits: int, first: int = 0) -> Report:
    rollups = {key: each for number in range(4) for key, each in quarter(first + number, ms=ms, hits=hits).items()}
    since = NOON + timedelta(minutes=15 * first)
    until = since + timedelta(hours=1)
    advice = run_system_optimization(
        as_snapshot(rollups, at=until), further={"setting.cache.retrieval.size": 50.0}
    ).recommendations
    trial = Trial(
        1, "cache.retrieval.size", 100, 50, "cache.retrieval:hit_rate", 0.2, 0.8, "kept", since, until, "better"
    )
    return report_of(rollups, since=since, until=until, thresholds=read_thresholds(), advice=advice, tuning=[trial])


@pytest.fixture(scope="module")
def slow() -> Report:
    return reported(ms=300, hits=50)


@pytest.fixture(scope="module")
def fast() -> Report:
    return reported(ms=20, hits=200, first=4)


def test_a_slow_hour_says_what_was_passed_and_what_to_do(slow: Report) -> None:
    passed = {str(each["name"]): each for each in slow.alerts}
    assert passed["slow-retrieval"]["level"] == "critical"
    assert passed["slow-retrieval"]["quarters"] == 4
    assert passed["cache-hit-rate"]["value"] == 0.2
    assert [each["setting"] for each in slow.advice] == ["cache.retrieval.size"]
    assert slow.figures["retrieve_memory:count"].value == 1_000


def commits(quarters: int, *, count: int) -> dict[tuple[int, str], Rollup]:
    start = int(NOON.timestamp())
    return {(start + 900 * number, "sql.commit"): Rollup("counter", total=count) for number in range(quarters)}


def test_a_threshold_about_a_day_is_held_to_whole_days() -> None:
    busy = commits(2 * 96, count=45 * 15)
    report = report_of(busy, since=NOON, until=NOON + timedelta(days=2), thresholds=read_thresholds())
    (alert,) = report.alerts
    assert (alert["name"], alert["level"], alert["quarters"]) == ("many-writes", "warning", 192)
    assert alert["value"] == pytest.approx(45)
    short = commits(4, count=45 * 15)
    assert not report_of(short, since=NOON, until=NOON + timedelta(days=1), thresholds=read_thresholds()).alerts


def test_the_quarter_that_runs_is_as_long_as_it_has_run() -> None:
    slow = {(int(NOON.timestamp()), "sql.slow"): Rollup("counter", total=10)}
    (alert,) = report_of(slow, since=NOON, until=NOON + timedelta(minutes=5), thresholds=read_thresholds()).alerts
    assert (alert["name"], alert["value"]) == ("slow-statements", 2.0)


def test_a_report_without_figures_says_whose_they_would_be() -> None:
    assert "commands are not counted" in text_of(report_of({}, since=NOON, until=NOON + timedelta(days=1)))


def test_a_fast_hour_passes_nothing(fast: Report) -> None:
    assert (fast.alerts, fast.advice) == ([], [])


def test_a_report_comes_back_from_json(slow: Report) -> None:
    again = Report.of_plain(json.loads(json.dumps(slow.plain())))
    assert again.plain() == slow.plain()


@pytest.mark.parametrize("broken", [None, [], {}, {"format": "other"}, {"format": "reasoning-bank report 1"}])
def test_what_is_no_report_is_refused(broken: object) -> None:
    with pytest.raises(InputError, match="report"):
        Report.of_plain(broken)


def test_before_and_after_is_told_with_intervals(slow: Report, fast: Report) -> None:
    changes = {change.metric: change for change in compared(slow, fast)}
    assert changes["retrieve_memory:mean_ms"].verdict == "better"
    assert changes["retrieve_memory:mean_ms"].ratio == pytest.approx(20 / 300, rel=0.1)
    assert changes["cache.retrieval:hit_rate"].verdict == "better"
    assert changes.keys() >= {"retrieve_memory:p95_ms", "cache.retrieval:hit_rate"}
    assert {each.verdict for each in compared(slow, slow)} == {"unclear"}


def test_text_has_every_part(slow: Report, fast: Report) -> None:
    text = text_of(slow)
    for part in (
        "Alerts",
        "slow-retrieval",
        "Advice",
        "[cache.retrieval] size = 100",
        "Operations",
        "Caches",
        "Gauges",
    ):
        assert part in text
    assert "Before and after" in text_of(fast, slow)
    assert max(map(len, text.splitlines())) < 250, "long cells are wrapped"
    assert "no threshold was passed" in text_of(fast)


def test_the_page_stands_alone_and_is_well_formed(slow: Report, fast: Report) -> None:
    pytest.importorskip("matplotlib")
    page = page_of(fast, slow)
    assert page.count("<svg") >= 3
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#)', page.replace("xlink:href", "href"))
    # What HTML leaves open, XML does not: everything but the declaration is closed.
    ET.fromstring(page.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', ""))


def test_without_the_plotting_library_the_page_has_its_tables_and_says_so(
    slow: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = page_of(slow)
    assert "<svg" not in page
    assert "reasoning-bank[report]" in page
    assert "slow-retrieval" in page


def test_what_others_wrote_cannot_become_markup(slow: Report) -> None:
    hostile = {**slow.advice[0], "description": "<script>alert(1)</script>"}
    page = page_of(replace(slow, advice=[hostile]))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("today", (-15.5, 0)),
        ("yesterday", (-39.5, -15.5)),
        ("day", (-24, 0)),
        ("week", (-168, 0)),
        ("2026-11-20", (-39.5, -15.5)),
        ("2026-11-21T10:00/2026-11-21T11:00", (-5.5, -4.5)),
        ("2026-11-21T12:00+02:00/2026-11-21T13:00+02:00", (-5.5, -4.5)),
    ],
)
def test_words_for_a_period(text: str, hours: tuple[float, float]) -> None:
    now = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)
    assert period(text, now=now) == tuple(now + timedelta(hours=each) for each in hours)


@pytest.mark.parametrize("text", ["tomorrowish", "2026-13-01", "1/2", "2026-11-21/2026-11-20"])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="period"):
        period(text, now=NOON)
