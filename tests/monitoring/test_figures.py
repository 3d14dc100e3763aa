"""Figures of an open bank: alerts that are told, advice that is tried, reports that outlive the process."""

import http.server
import json
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.figures import Applied
from reasoning_bank.monitoring.advice import packaged_rules
from reasoning_bank.monitoring.alerts import read_thresholds
from reasoning_bank.monitoring.conditions import named_by
from reasoning_bank.monitoring.histogram import Histogram
from reasoning_bank.monitoring.rollups import of_durations, quarter_of
from reasoning_bank.monitoring.trials import Trial
from reasoning_bank.opening import clockwork
from reasoning_bank.opening.tuning import TUNABLE, explicit, setting_figures, with_value
from reasoning_bank.records import MemoryItem, NewTrace, Query
from reasoning_bank.settings import Settings
from reasoning_bank.storage import rollups, tuning


def settings_of(data_dir: Path, **more: Any) -> Settings:
    return Settings.model_validate(
        {
            "data_dir": data_dir,
            "embeddings": {"backend": "hashing"},
            "vectors": {"search": "exact"},
            "compression": {"tokenizer": "estimated"},
            "durability": "process",
            **more,
        }
    )


def bank_at(settings: Settings, at: list[datetime]) -> ReasoningBank:
    """A bank whose clock a test moves."""
    return ReasoningBank(settings, clock=replace(clockwork(), now=lambda: at[0]))


def misses(bank: ReasoningBank, *, hits: float, misses: float, by_size: float) -> None:
    """What the cache of answers would have counted."""
    for kind, count in (("hits", hits), ("misses", misses), ("missed_by_size", by_size), ("evictions", by_size)):
        bank.monitor.count(f"cache.retrieval.{kind}", count)


async def test_an_alert_is_logged_when_it_is_raised_and_when_it_is_over(
    data_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = tmp_path / "alerts.toml"
    rules.write_text(
        "[[alert]]\nname='slow'\nmetric='work:max_ms'\ntarget=100\ncritical=200\nleast=1\nfor_s=0\nclear_s=0\n"
        "window='start'\nabout='work is slow'\n",
        encoding="utf-8",
    )
    async with ReasoningBank(settings_of(data_dir, monitoring={"alerts": rules})) as bank:
        figures = bank.figures
        bank.monitor.observe("work", 0.5)
        with caplog.at_level(logging.INFO, "reasoning_bank.figures"):
            await figures.look()
            await figures.look()
            assert [(alert.level, alert.metric) for alert in figures.alerts()] == [("critical", "work:max_ms")]
            await figures.reset()
            await figures.look()
        assert figures.alerts() == []
    said = [record.message for record in caplog.records if "alert" in record.message]
    assert said[0].startswith("alert, critical: slow: work:max_ms is 500 (target 100, critical 200): work is slow")
    assert len(said) == 1, "a reset forgets what was raised"


async def test_the_webhook_is_told_and_a_broken_one_harms_nobody(data_dir: Path, tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    told = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            told.set()

        def log_message(self, format: str, *args: object) -> None:
            """Tests read `heard` instead."""

    rules = tmp_path / "alerts.toml"
    rules.write_text(
        "[[alert]]\nname='slow'\nmetric='work:max_ms'\ntarget=1\ncritical=2\nleast=1\nfor_s=0\nabout='work is slow'\n",
        encoding="utf-8",
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    chosen = {"alerts": rules, "webhook_url": f"http://127.0.0.1:{server.server_port}/hook?key=s", "sample_s": 0.1}
    settings = settings_of(data_dir, monitoring=chosen)
    try:
        assert (await alerted(settings, lambda: anyio.to_thread.run_sync(told.wait, 30)))[0] == "slow"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (heard[0]["event"], heard[0]["alert"]["metric"]) == ("raised", "work:max_ms")
    assert heard[0]["text"].startswith("reasoning-bank: alert raised: slow")
    # Nobody listens there any more: the bank works on.
    assert await alerted(settings, anyio.lowlevel.checkpoint) == ["slow"]


async def alerted(settings: Settings, wait: Callable[[], Awaitable[object]]) -> list[str]:
    """The alerts of a bank in which work was slow, after its figures ran for a while."""
    async with ReasoningBank(settings) as bank:
        bank.monitor.observe("work", 1.0)
        await wait()
        with anyio.fail_after(30):
            while not bank.figures.alerts():  # noqa: ASYNC110 -- the figures are what they are between looks
                await anyio.sleep(0.02)
        return [alert.threshold.name for alert in bank.figures.alerts()]


async def test_figures_outlive_the_process(data_dir: Path) -> None:
    settings, since = settings_of(data_dir), datetime.now(UTC) - timedelta(hours=1)
    for _ in range(2):
        async with ReasoningBank(settings) as bank:
            figures = bank.figures
            bank.monitor.observe("work", 0.25)
            await figures.flush()
    async with ReasoningBank(settings) as bank:
        report = await bank.figures.report(since, datetime.now(UTC))
        assert report.figures["work:count"].value == 2
        assert (await bank.figures.stored()).value("work:mean_ms", "24h") == pytest.approx(250)
        assert await bank.figures.reset(stored=True) > 0
        assert "work:count" not in (await bank.figures.report(since, datetime.now(UTC))).figures


async def test_a_row_that_cannot_be_read_does_not_end_the_task(data_dir: Path) -> None:
    async with ReasoningBank(settings_of(data_dir)) as bank:
        bank.monitor.observe("work", 0.25)
        await bank.figures.flush()
        spoil = "update metric_rollups set sketch = x'00'"
        await bank.rooms.database.write(lambda c: c.exec_driver_sql(spoil))
        bank.monitor.observe("work", 0.25)
        await bank.figures.flush()
        count = (await bank.figures.stored()).value("work:count", "24h")
        assert count == 1, "what could not be read is lost, what came since is not"


async def test_health_knows_of_the_task_of_figures(data_dir: Path) -> None:
    async with ReasoningBank(settings_of(data_dir, monitoring={"sample_s": 0.1})) as bank:
        assert [task.name for task in bank.rooms.watched] == ["figures"]

        def broken() -> float:
            raise ZeroDivisionError

        bank.monitor.gauge("broken", broken)
        with anyio.fail_after(30):
            while bank.rooms.watched[0].error is None:  # noqa: ASYNC110 -- it ends at its next look
                await anyio.sleep(0.02)
        bank.monitor.gauge("broken", lambda: 0.0)
        health = await bank.health()
    assert health["status"] == "degraded"
    assert "figures ended by ZeroDivisionError" in str(health["parts"])


def observed(count: int) -> Histogram:
    durations = Histogram()
    for _ in range(count):
        durations.observe(0.001)
    return durations


async def test_doctor_sees_what_a_day_is_held_to(data_dir: Path) -> None:
    at = [datetime.now(UTC)]
    commits = of_durations(observed(675))
    busy = {(quarter_of(at[0]) - 900 * number, "sql.commit"): commits for number in range(95)}
    async with bank_at(settings_of(data_dir), at) as bank:
        await bank.rooms.database.write(lambda c: rollups.add(c, busy))
        assert [(each.threshold.name, each.level) for each in await bank.figures.stored_alerts()] == [
            ("many-writes", "warning")
        ]


async def test_a_period_that_ends_within_a_quarter_is_told_with_all_of_it(data_dir: Path) -> None:
    at = [datetime.now(UTC)]
    start = quarter_of(at[0]) - 3_600
    async with bank_at(settings_of(data_dir), at) as bank:
        work = of_durations(observed(60))
        await bank.rooms.database.write(lambda c: rollups.add(c, {(start, "work"): work}))
        since = datetime.fromtimestamp(start, UTC)
        report = await bank.figures.report(since, since + timedelta(minutes=1))
        assert report.figures["work:per_minute"].value == 4.0
        assert report.until == since + timedelta(minutes=15)


async def test_a_reset_begins_trials_anew(data_dir: Path) -> None:
    at = [datetime.now(UTC)]
    async with bank_at(settings_of(data_dir), at) as bank:
        misses(bank, hits=40, misses=160, by_size=120)
        await bank.figures.apply()
        at[0] += timedelta(hours=1)
        await bank.figures.reset()
        misses(bank, hits=900, misses=100, by_size=0)
        await bank.figures.look()
        assert [trial.state for trial in await bank.figures.trials()] == ["trial"]


async def test_a_reset_waits_for_what_is_being_written(data_dir: Path) -> None:
    async with ReasoningBank(settings_of(data_dir)) as bank:
        figures, since = bank.figures, datetime.now(UTC) - timedelta(hours=1)
        for _ in range(10):
            bank.monitor.observe("work", 0.1)
        async with anyio.create_task_group() as group:
            group.start_soon(figures.flush)
            await anyio.lowlevel.checkpoint()
            await figures.reset()
        for _ in range(15):
            bank.monitor.observe("work", 0.1)
        report = await figures.report(since, datetime.now(UTC))
        assert report.figures["work:count"].value == 25


async def test_where_figures_are_not_kept_nothing_is_written(data_dir: Path) -> None:
    async with ReasoningBank(settings_of(data_dir, monitoring={"rollups": False})) as bank:
        figures = bank.figures
        bank.monitor.observe("work", 0.25)
        await figures.flush()
        assert (await figures.stored()).operations == {}


async def test_old_figures_are_dropped(data_dir: Path) -> None:
    at = [datetime.now(UTC)]
    async with bank_at(settings_of(data_dir, monitoring={"retention_days": 2}), at) as bank:
        figures = bank.figures
        bank.monitor.observe("work", 0.25)
        await figures.flush()
        assert (await figures.stored()).value("work:count", "24h") == 1
        since = at[0]
        at[0] += timedelta(days=3)
        bank.monitor.observe("other", 0.25)
        assert (await figures.report(since, at[0])).figures == {}


async def test_advice_is_tried_at_once_and_kept_where_it_helped(data_dir: Path) -> None:
    at = [datetime.now(UTC)]
    async with bank_at(settings_of(data_dir), at) as bank:
        figures = bank.figures
        misses(bank, hits=40, misses=160, by_size=120)
        applied = await figures.apply()
        assert [(trial.setting, trial.previous, trial.value) for trial in applied.begun] == [
            ("cache.retrieval.size", 500, 1000)
        ]
        memory = bank.rooms.caches.named()["retrieval"].memory
        assert memory is not None
        assert memory.get_statistics()["max_size"] == 1_000
        await figures.look()
        at[0] += timedelta(hours=1)
        misses(bank, hits=10, misses=5, by_size=0)
        await figures.look()
        assert (await figures.trials())[0].state == "trial", "15 look-ups are too few to tell"
        misses(bank, hits=480, misses=20, by_size=5)
        await figures.look()
        (trial,) = await figures.trials()
        assert (trial.state, trial.before) == ("kept", 0.2)
        assert trial.after == pytest.approx(490 / 515)
        assert "n = 515" in trial.reason
    # The next process opens with it.
    async with ReasoningBank(settings_of(data_dir)) as bank:
        assert bank.rooms.settings.cache.retrieval.size == 1_000
        assert bank.settings.cache.retrieval.size == 500
        assert await bank.figures.take_back() == 1
    async with ReasoningBank(settings_of(data_dir)) as bank:
        assert bank.rooms.settings.cache.retrieval.size == 500


async def test_what_does_not_help_is_taken_back_everywhere_and_not_tried_again(data_dir: Path) -> None:
    at = [datetime.now(UTC)]
    settings = settings_of(data_dir)
    async with bank_at(settings, at) as bank, bank_at(settings, at) as other:
        figures, others = bank.figures, other.figures
        kept = other.rooms.caches.named()["retrieval"].memory
        assert kept is not None
        misses(bank, hits=40, misses=160, by_size=120)
        assert len((await figures.apply()).begun) == 1
        await others.look()
        assert kept.get_statistics()["max_size"] == 1_000, "other processes follow"
        at[0] += timedelta(hours=1)
        misses(bank, hits=100, misses=400, by_size=300)
        await figures.look()
        assert [trial.state for trial in await figures.trials()] == ["rolled_back"]
        memory = bank.rooms.caches.named()["retrieval"].memory
        assert memory is not None
        assert memory.get_statistics()["max_size"] == 500
        await others.look()
        assert kept.get_statistics()["max_size"] == 500
        assert await figures.apply() == Applied([], []), "figures are about the setting before"
        at[0] += timedelta(hours=1)
        again = await figures.apply()
        assert again.begun == []
        assert "taken back lately" in again.left[0][1]


async def test_off_applies_nothing_that_was_changed_on_advice(data_dir: Path) -> None:
    async with ReasoningBank(settings_of(data_dir)) as bank:
        misses(bank, hits=40, misses=160, by_size=120)
        assert len((await bank.figures.apply()).begun) == 1
    for tune, size in (("off", 500), ("advise", 1_000)):
        async with ReasoningBank(settings_of(data_dir, monitoring={"tune": tune})) as bank:
            await bank.figures.look()
            memory = bank.rooms.caches.named()["retrieval"].memory
            assert memory is not None
            assert (memory.get_statistics()["max_size"], bank.rooms.settings.cache.retrieval.size) == (size, size)


async def test_a_process_that_began_just_now_decides_no_trial_by_its_cold_cache(data_dir: Path) -> None:
    at = [datetime.now(UTC)]
    async with bank_at(settings_of(data_dir), at) as bank:
        misses(bank, hits=40, misses=160, by_size=120)
        await bank.figures.apply()
    at[0] += timedelta(hours=1)
    async with bank_at(settings_of(data_dir), at) as bank:
        await bank.figures.look()
        misses(bank, hits=10, misses=590, by_size=0)
        await bank.figures.look()
        assert [trial.state for trial in await bank.figures.trials()] == ["trial"]
        misses(bank, hits=5_400, misses=0, by_size=0)
        at[0] += timedelta(hours=1)
        await bank.figures.look()
        assert [trial.state for trial in await bank.figures.trials()] == ["kept"]


async def test_a_trial_that_nobody_can_decide_is_taken_back(data_dir: Path) -> None:
    at = [datetime.now(UTC)]
    async with bank_at(settings_of(data_dir), at) as bank:
        misses(bank, hits=40, misses=160, by_size=120)
        await bank.figures.apply()
        await bank.figures.look()
        for hours, state in ((2, "trial"), (3, "rolled_back")):
            at[0] += timedelta(hours=hours)
            await bank.figures.look()
            (trial,) = await bank.figures.trials()
            assert trial.state == state
        assert trial.reason == "too few observations of cache.retrieval:hit_rate to tell, n = 0"
        memory = bank.rooms.caches.named()["retrieval"].memory
        assert memory is not None
        assert memory.get_statistics()["max_size"] == 500


async def test_a_trial_that_no_process_takes_up_lasts_a_week_at_most(data_dir: Path) -> None:
    at = [datetime.now(UTC)]
    old = Trial(0, "background.batch", 64, 32, "queue.oldest_s:value", 61, None, "trial", at[0], None, "why")
    async with bank_at(settings_of(data_dir), at) as bank:
        await bank.rooms.database.write(lambda c: tuning.begin(c, [old]))
        at[0] += timedelta(days=6)
        await bank.figures.look()
        assert [trial.state for trial in await bank.figures.trials()] == ["trial"]
        at[0] += timedelta(days=1)
        await bank.figures.look()
        assert [trial.state for trial in await bank.figures.trials()] == ["rolled_back"]


async def test_what_a_user_set_is_never_changed(data_dir: Path) -> None:
    settings = settings_of(data_dir, cache={"retrieval": {"size": 50}})
    async with ReasoningBank(settings) as bank:
        figures = bank.figures
        misses(bank, hits=40, misses=160, by_size=120)
        applied = await figures.apply()
        assert applied.begun == []
        assert [(each.setting, each.value, why) for each, why in applied.left] == [
            ("cache.retrieval.size", 100, "you set it yourself, so it is yours to change")
        ]


async def test_sizes_are_left_to_whoever_balances_them(data_dir: Path) -> None:
    async with ReasoningBank(settings_of(data_dir, cache={"auto_size": True})) as bank:
        misses(bank, hits=40, misses=160, by_size=120)
        assert [why for _, why in (await bank.figures.apply()).left] == ["cache.auto_size sees to it"]


async def test_a_server_tunes_itself_only_where_it_may(data_dir: Path) -> None:
    for tune, trials in (("off", 0), ("advise", 0), ("apply", 1)):
        async with ReasoningBank(settings_of(data_dir, monitoring={"tune": tune})) as bank:
            figures = bank.figures
            misses(bank, hits=40, misses=160, by_size=120)
            await figures.look()
            assert len(await figures.trials()) == trials


async def test_a_cache_that_is_switched_off_raises_nothing(data_dir: Path) -> None:
    for off in ({"enabled": False}, {"retrieval": {"size": 0}, "queries": {"enabled": False}}):
        async with ReasoningBank(settings_of(data_dir, cache=off)) as bank:
            for number in range(3):
                await bank.retrieve("w", Query(f"repair pump {number}"))
            names = bank.figures.snapshot().counters
            assert not [name for name in names if name.startswith(("cache.retrieval.", "cache.queries."))]


async def test_one_change_at_a_time_for_each_figure(data_dir: Path) -> None:
    async with ReasoningBank(settings_of(data_dir)) as bank:
        now = datetime.now(UTC)
        both = [
            Trial(0, f"cache.retrieval.{key}", 1, 2, "cache.retrieval:hit_rate", 0.1, None, "trial", now, None, "why")
            for key in ("size", "ttl_s")
        ]
        begun = await bank.rooms.database.write(lambda c: tuning.begin(c, both))
        assert [trial.setting for trial in begun] == ["cache.retrieval.size"]


async def test_yesterdays_report_is_written_once(data_dir: Path, tmp_path: Path) -> None:
    directory, today = tmp_path / "reports", datetime.now(UTC)
    settings = settings_of(data_dir, monitoring={"daily_report": directory})
    page = directory / f"{today:%Y-%m-%d}.html"
    midnight = today.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    at = [midnight + timedelta(minutes=5)]
    async with bank_at(settings, at) as bank:
        bank.monitor.observe("work", 0.25)
        await bank.figures.look()
        assert not page.exists(), "other processes have not written the end of the day"
        at[0] += timedelta(minutes=5)
        await bank.figures.look()
        assert (directory.stat().st_mode & 0o777, page.stat().st_mode & 0o777) == (0o700, 0o600)
        assert "work" in page.read_text(encoding="utf-8")
        assert json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))["figures"]["work:count"]["value"] == 1
        page.write_text("kept", encoding="utf-8")
    async with bank_at(settings, at) as bank:
        await bank.figures.look()
        assert page.read_text(encoding="utf-8") == "kept"
        assert sorted(path.name for path in directory.iterdir()) == [page.name, page.with_suffix(".json").name]


ELSEWHERE = {
    "degraded.semantic",
    "http",
    "llm",
    "llm.breakers_open",
    "llm.requests",
    "llm.waiting",
    "llm.waits",
    "tool.*",
}
"""Measured where a model is configured or missing, over HTTP, or by the tools of the server."""


async def test_every_figure_that_thresholds_and_rules_name_is_measured(data_dir: Path) -> None:
    lesson = MemoryItem(text="", title="Pump", content="Check the valve first, then the pump.")
    async with ReasoningBank(settings_of(data_dir, monitoring={"sample_s": 0.1, "slow_query_ms": 0})) as bank:
        await bank.store_trace("w", NewTrace("Repair the pump", outcome="success"), memories=[lesson])
        await bank.wait_until_searchable(timeout_s=30)
        for _ in range(3):
            await bank.retrieve("w", Query("repair the pump"))
        await bank.compress("one two three " * 200, max_tokens=100)
        await bank.rooms.sampler.look()
        snapshot = bank.figures.snapshot()
    with ThreadPoolExecutor(1) as thread:
        rules, thresholds = thread.submit(packaged_rules).result(), thread.submit(read_thresholds).result()
    words = {word for rule in rules for line in rule.when for word in line.split() if ":" in word}
    wanted = words | {rule.judged_by for rule in rules if rule.judged_by} | {each.metric for each in thresholds}
    missing = {
        metric.rpartition(":")[0]
        for metric in wanted
        if all(snapshot.value(name, "start") is None for name in named_by(metric, snapshot))
    }
    assert missing <= ELSEWHERE


def test_every_tunable_setting_exists_and_can_be_set(data_dir: Path) -> None:
    settings = settings_of(data_dir, cache={"queries": {"size": 7}})
    for name in TUNABLE:
        changed = with_value(settings, name, 40)
        assert setting_figures(changed)[f"setting.{name}"] == 40
    assert explicit(settings, "cache.queries.size")
    assert not explicit(settings, "cache.retrieval.size")
    figures = setting_figures(settings)
    assert figures["setting.embeddings.backend=hashing"] == 1
    assert not [name for name in figures if "key" in name and "=" in name], "no secret is a figure"
