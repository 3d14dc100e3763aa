"""Thresholds over figures: what is raised, when, what clears, and the file they come from."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reasoning_bank.errors import ConfigError
from reasoning_bank.monitoring.alerts import Alerts, Threshold, at_once, changes, judged, read_thresholds
from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.monitoring.snapshot import Snapshot, Summary

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CONFIG = Path(__file__).resolve().parents[2] / "config" / "alerts.toml"
SLOW = Threshold(
    name="slow", metric="retrieve_memory:mean_ms", target=100, critical=200, for_s=60, clear_s=120, about="slow"
)


def snapshot(
    ms: float = 0.0,
    *,
    count: int = 100,
    errors: int = 0,
    after_s: float = 0.0,
    name: str = "retrieve_memory",
    counters: Mapping[str, float] | None = None,
    gauges: Mapping[str, float] | None = None,
) -> Snapshot:
    seconds = ms / 1000
    summary = Summary(count, errors, seconds * count, seconds, seconds, seconds, seconds, seconds)
    counted = {key: {"15m": value} for key, value in (counters or {}).items()}
    operations = {name: {"15m": summary}} if count else {}
    return Snapshot(NOW + timedelta(seconds=after_s), 10_000.0, operations, counted, gauges or {})  # pyright: ignore[reportArgumentType] -- the names of windows


def levels(steps: Sequence[tuple[float, float]], threshold: Threshold = SLOW) -> list[str]:
    """The level after each (seconds, milliseconds)."""
    state: Alerts = {}
    said: list[str] = []
    for after_s, ms in steps:
        state = judged([threshold], state, snapshot(ms, after_s=after_s))
        said.append(next(iter(state.values())).level)
    return said


def test_a_bad_figure_is_pending_until_it_was_bad_long_enough() -> None:
    assert levels([(0, 150), (30, 150), (60, 150), (61, 150)]) == ["pending", "pending", "warning", "warning"]


def test_a_bad_moment_is_forgotten_when_it_passes() -> None:
    assert levels([(0, 150), (30, 50), (60, 150), (90, 150)]) == ["pending", "ok", "pending", "pending"]


def test_what_was_raised_clears_only_when_it_was_well_long_enough() -> None:
    steps = [(0, 150), (60, 150), (70, 50), (150, 50), (160, 150), (170, 50), (289, 50), (290, 50)]
    assert levels(steps)[1:] == ["warning", "warning", "warning", "warning", "warning", "warning", "ok"]


def test_a_warning_becomes_critical_and_a_warning_again() -> None:
    steps = [(0, 150), (60, 150), (61, 300), (121, 300), (122, 150), (242, 150)]
    assert levels(steps) == ["pending", "warning", "warning", "critical", "critical", "warning"]


def test_a_figure_at_its_threshold_does_not_flap() -> None:
    steps = [(float(second), 99.0 + second % 3) for second in range(0, 600, 10)]
    assert set(levels(steps)) == {"ok", "pending"}


def test_few_observations_say_nothing() -> None:
    few = judged([SLOW], {}, snapshot(5_000, count=19))
    assert [(alert.level, alert.value) for alert in few.values()] == [("ok", None)]


def test_an_alert_clears_when_nothing_is_measured_any_more() -> None:
    state: Alerts = {}
    for after_s, count in ((0, 100), (60, 100), (70, 0), (190, 0)):
        state = judged([SLOW], state, snapshot(300, count=count, after_s=after_s))
    assert [(alert.level, alert.value) for alert in state.values()] == [("ok", None)]


def test_the_moment_a_level_began_is_kept() -> None:
    state: Alerts = {}
    for after_s in (0, 60, 600):
        state = judged([SLOW], state, snapshot(150, after_s=after_s))
    assert next(iter(state.values())).since == NOW + timedelta(seconds=60)


def test_below_is_the_bad_side_where_the_threshold_says_so() -> None:
    rate = Threshold(
        name="hits", metric="cache.*:hit_rate", worse="below", target=0.7, critical=0.5, for_s=0, about="few hits"
    )
    hits = {"a": 60, "b": 10, "c": 90}
    counted = {f"cache.{name}.hits": float(hit) for name, hit in hits.items()}
    counted |= {f"cache.{name}.misses": float(100 - hit) for name, hit in hits.items()}
    found = judged([rate], {}, snapshot(counters=counted))
    assert {metric: alert.level for (_, metric), alert in found.items()} == {
        "cache.a:hit_rate": "warning",
        "cache.b:hit_rate": "critical",
        "cache.c:hit_rate": "ok",
    }


def test_a_star_stands_for_one_part_of_a_name() -> None:
    work = Threshold(name="work", metric="queue.*:mean_ms", target=1, critical=2, for_s=0, about="slow work")
    assert judged([work], {}, snapshot(100, name="queue.embed.wait")) == {}
    assert list(judged([work], {}, snapshot(100, name="queue.embed"))) == [("work", "queue.embed:mean_ms")]


def test_a_gauge_needs_no_other_observations() -> None:
    disk = Threshold(name="disk", metric="disk.free_bytes:value", worse="below", target=1e9, critical=1e8, about="full")
    assert [alert.level for alert in at_once([disk], snapshot(gauges={"disk.free_bytes": 5e8}))] == ["warning"]


@pytest.mark.parametrize("threshold", read_thresholds(), ids=lambda threshold: threshold.name)
def test_every_packaged_threshold_is_raised_beyond_critical(threshold: Threshold) -> None:
    name, _, statistic = threshold.metric.replace("*", "x").rpartition(":")
    beyond, count = threshold.critical * (2 if threshold.worse == "above" else 0.5), max(threshold.least, 20)
    if statistic == "value":
        given = snapshot(gauges={name: beyond})
    elif statistic == "hit_rate":
        given = snapshot(counters={f"{name}.hits": beyond * count, f"{name}.misses": (1 - beyond) * count})
    elif statistic == "per_minute":
        given = snapshot(counters={name: beyond * 10_000 / 60 + count})
    else:
        given = snapshot(beyond, name=name, count=int(count), errors=int(count) if statistic == "error_rate" else 0)
    given = replace(
        given,
        operations={key: {threshold.window: each["15m"]} for key, each in given.operations.items()},
        counters={key: {threshold.window: each["15m"]} for key, each in given.counters.items()},
    )
    assert [alert.level for alert in at_once([threshold], given)] == ["critical"]


def test_what_was_bad_all_the_time_does_not_clear_by_one_good_look() -> None:
    steps = [(0, 300), (60, 300), (90, 150), (180, 150), (200, 50), (210, 50), (230, 150), (400, 150)]
    assert levels(steps)[1:] == ["critical"] * 4 + ["warning"] * 3
    assert levels([(0, 150), (60, 150), (90, 300), (120, 300), (130, 50), (240, 50), (250, 50)])[1:] == [
        "warning", "warning", "warning", "warning", "warning", "ok"
    ]  # fmt: skip


def test_one_very_bad_look_after_a_bad_while_is_no_more_than_the_while() -> None:
    assert levels([(0, 150), (59, 150), (60, 300), (61, 300), (120, 300), (121, 300)])[2:] == [
        "warning", "warning", "warning", "critical"
    ]  # fmt: skip


def test_a_counter_that_stands_still_is_nought_and_one_that_nobody_counted_is_unknown() -> None:
    monitor = PerformanceMonitor()
    monitor.count("sql.slow", 0)
    assert monitor.snapshot().value("sql.slow:count") == 0
    assert monitor.snapshot().value("sql.other:count") is None


def test_each_change_of_what_is_raised_is_told_once() -> None:
    told: list[tuple[float, str]] = []
    state: Alerts = {}
    for after_s, ms in ((0, 150), (60, 150), (90, 150), (100, 300), (160, 300), (200, 10), (320, 10), (330, 10)):
        now = judged([SLOW], state, snapshot(ms, after_s=after_s))
        told += [(after_s, alert.raised) for alert in changes(state, now)]
        state = now
    assert told == [(60, "warning"), (160, "critical"), (320, "ok")]


def test_what_is_over_is_judged_at_once_worst_first() -> None:
    other = SLOW.model_copy(update={"name": "slower", "target": 10.0, "critical": 20.0})
    found = at_once([SLOW, other], snapshot(150))
    assert [(alert.threshold.name, alert.level) for alert in found] == [("slower", "critical"), ("slow", "warning")]
    assert found[0].line.startswith("slower: retrieve_memory:mean_ms is 150 (target 10, critical 20): ")


def test_the_package_has_every_target_that_it_can_measure() -> None:
    """Rows of the tables of targets: metric, target, critical."""
    bounds = {each.metric: (each.target, each.critical) for each in read_thresholds()}
    wanted = {
        "retrieve_memory:p95_ms": (100, 200),
        "llm:mean_ms": (2_000, 5_000),
        "cache.retrieval:hit_rate": (0.7, 0.5),
        "sql.commit:per_minute": (20, 50),
        "http:p95_ms": (200, 500),
        "sql.read:mean_ms": (100, 200),
        "tool.*:mean_ms": (3_000, 5_000),
        "tool.*:max_ms": (5_000, 30_000),
        "retrieve_memory:mean_ms": (1_000, 2_000),
        "store_trace:mean_ms": (500, 1_000),
        "memories:value": (50_000, 100_000),
        "llm.waiting:value": (10, 20),
    }
    assert {metric: bounds.get(metric) for metric in wanted} == wanted
    assert {"queue.*:error_rate", "process.cpu_percent:value"} <= bounds.keys()


def test_the_file_in_config_is_the_packages_and_can_be_used() -> None:
    assert read_thresholds(CONFIG) == read_thresholds()
    packaged = Path(__file__).resolve().parents[2] / "reasoning_bank" / "monitoring" / "alerts.toml"
    assert CONFIG.read_text(encoding="utf-8") == packaged.read_text(encoding="utf-8")


def test_every_field_of_a_threshold_is_described_in_the_file() -> None:
    head = CONFIG.read_text(encoding="utf-8").split("[[alert]]")[0]
    assert [name for name in Threshold.model_fields if f"#   {name} " not in head] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nonsense", "cannot be read"),
        ("[other]", "only \\[\\[alert\\]\\] tables"),
        ("[[alert]]\nname = 'a'", "alert 1 \\(metric\\)"),
        ("[[alert]]\nname='a'\nmetric='x:p42'\ntarget=1\ncritical=2\nabout='x'", "metric 'x:p42'"),
        ("[[alert]]\nname='a'\nmetric='x:count'\ntarget=3\ncritical=2\nabout='x'", "not worse than target"),
        ("[[alert]]\nname='a'\nmetric='x:count'\ntarget=1\ncritical=2\nabout='x'\n" * 2, "two alerts are named 'a'"),
    ],
)
def test_what_cannot_be_meant_is_said_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "alerts.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_thresholds(file)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        read_thresholds(tmp_path / "none.toml")


def test_seeds_rows_without_counterpart_are_listed_with_their_reason() -> None:
    head = CONFIG.read_text(encoding="utf-8").split("[[alert]]")[0]
    for row in ("agent cycle time", "parallel speed-up", "tool call reduction", "cache read time"):
        assert row in head
    assert len(tomllib.loads(CONFIG.read_text(encoding="utf-8"))["alert"]) >= 14
