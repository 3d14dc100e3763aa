"""What a person asks about performance: `report`, `advise` and the alerts in `doctor`, on a bank that was slow."""

import asyncio
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.cli import cli
from reasoning_bank.settings import Settings, load_settings


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank whose searches took long, and whose cache of answers missed what it had just let go."""
    directory = tmp_path_factory.mktemp("slow")
    given = {"data_dir": directory, "embeddings": {"backend": "hashing"}, "durability": "process"}
    settings = Settings.model_validate(given)

    async def measure() -> None:
        async with ReasoningBank(settings) as bank:
            for _ in range(120):
                bank.monitor.observe("retrieve_memory", 0.3)
            for kind, count in (("hits", 30), ("misses", 200), ("missed_by_size", 150), ("evictions", 190)):
                bank.monitor.count(f"cache.retrieval.{kind}", count)
            assert await bank.compress("one two three " * 200, max_tokens=100)
            counters = bank.figures.snapshot().counters
            assert counters["compression.tokens_before"]["start"] > counters["compression.tokens_after"]["start"] > 0

    asyncio.run(measure())
    return directory


@pytest.fixture(autouse=True)
def slow(template: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands work on a copy of it."""
    shutil.copytree(template, data_dir)
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
    monkeypatch.setenv("REASONING_BANK_DATA_DIR", str(data_dir))


def run(*arguments: str | Path, code: int = 0) -> Result:
    done = CliRunner().invoke(cli, [str(each) for each in arguments])
    assert done.exit_code == code, done.output
    return done


def json_of(*arguments: str | Path) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def test_a_report_has_figures_alerts_and_advice() -> None:
    report = json_of("report")
    assert report["figures"]["retrieve_memory:count"]["value"] == 120
    assert {each["name"] for each in report["alerts"]} >= {"slow-retrieval", "cache-hit-rate"}
    assert report["advice"][0]["setting"] == "cache.retrieval.size"
    text = run("report", "--week").stdout
    assert "slow-retrieval" in text
    assert "[cache.retrieval] size = 1000" in text


def test_a_report_is_a_page_or_json_by_the_name_of_its_file(tmp_path: Path) -> None:
    assert run("report", "--output", tmp_path / "report.html").stdout == ""
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    run("report", "--output", tmp_path / "report.txt")
    assert (tmp_path / "report.txt").read_text(encoding="utf-8").startswith("Performance, ")
    run("report", "--output", tmp_path / "report.json")
    compared = json_of("report", "--compare", tmp_path / "report.json", f"{datetime.now(UTC):%Y-%m-%d}")
    assert {change["verdict"] for change in compared["changes"]} == {"unclear"}


def test_what_is_no_period_and_no_report_is_said(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    assert "no saved report" in run("report", "--compare", tmp_path / "other.json", "today", code=2).output
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    assert "broken.json" in run("report", "--compare", tmp_path / "broken.json", "today", code=2).output
    assert "no period" in str(run("report", "--period", "soon", code=1).exception)


def test_a_reset_forgets_figures_only_when_asked_to() -> None:
    assert "Aborted" in CliRunner().invoke(cli, ["report", "reset"], input="n\n").output
    assert "rows of figures forgotten" in run("report", "reset", "--yes").stdout
    assert json_of("report")["figures"] == {}


def test_a_command_leaves_no_figures() -> None:
    run("search", "anything", "-w", "w")
    assert json_of("report")["figures"]["retrieve_memory:count"]["value"] == 120


def test_doctor_tells_of_alerts_and_where_to_go() -> None:
    checks = [each for each in json_of("doctor") if each["name"].startswith("alert")]
    assert "alert critical" in {each["name"] for each in checks}
    assert any("slow-retrieval" in each["detail"] for each in checks)
    assert {each["advice"] for each in checks} == {"`reasoning-bank advise` says what to change"}


def test_advice_is_shown_applied_and_taken_back() -> None:
    shown = run("advise").stdout
    assert "cache-too-small-retrieval (high priority)" in shown
    assert "change:   [cache.retrieval] size = 1000" in shown
    applied = json_of("advise", "--apply")
    assert applied["applied"] == ["cache.retrieval.size"]
    assert applied["trials"][0]["state"] == "trial"
    assert "on trial" in json_of("advise", "--apply")["left"][0]

    async def size() -> int:
        async with ReasoningBank(settings) as bank:
            return bank.rooms.settings.cache.retrieval.size

    settings = load_settings()
    assert asyncio.run(size()) == 1_000
    assert "1 changes taken back" in run("advise", "--undo").stderr
    assert asyncio.run(size()) == 500


def test_where_tuning_is_off_nothing_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONING_BANK_MONITORING__TUNE", "off")
    assert "monitoring.tune is off" in str(run("advise", "--apply", code=1).exception)
