"""What config/ asks Prometheus for is what a server tells."""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcp import Client
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.mcp.figures import METRICS_PATH
from reasoning_bank.mcp.server import build_server
from reasoning_bank.mcp.tools import FULL
from reasoning_bank.monitoring.exposition import SnapshotCollector, exposition
from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.records import NewTrace
from reasoning_bank.settings import HttpSettings, Settings, load_settings

CONFIG = Path(__file__).resolve().parents[2] / "config"
LESSON = {"title": "Reuse one connection", "description": "When an export connects per row.", "error_context": None}
SCRIPT = {
    "purpose": "distil",
    "json": {"memories": [{**LESSON, "content": "Open one connection for all rows, because each opened its own."}]},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "script.jsonl").write_text(json.dumps(SCRIPT), encoding="utf-8")
    return load_settings(
        data_dir=tmp_path / "bank",
        profile="full",
        embeddings={"backend": "hashing"},
        vectors={"search": "chroma", "chroma_mode": "off"},
        compression={"tokenizer": "estimated"},
        durability="process",
        background={"poll_s": 0.02},
        monitoring={"sample_s": 0.1},
        llm={
            "model": "scripted:any",
            "providers": {"scripted": {"kind": "scripted", "script": str(tmp_path / "script.jsonl")}},
        },
    )


async def told_by_a_server(settings: Settings) -> list[Metric]:
    """What a server tells after each tool was called."""
    bank = ReasoningBank(settings)
    async with Client(await asyncio.to_thread(build_server, lambda: bank, settings)) as client:
        stored = await client.call_tool(
            "store_trace", {"task": "repair the reader", "outcome": "unknown", "trajectory": "It works now. " * 30}
        )
        assert stored.structured_content is not None
        drafts = [{"title": "Read twice", "content": "Read the file twice: the first read warms it."}]
        kept = await client.call_tool("store_trace", {"task": "read a file", "outcome": "success", "memories": drafts})
        assert kept.structured_content is not None
        id_ = kept.structured_content["memories"][0]["id"]
        for name, arguments in {
            "retrieve_memory": {"task": "read a file", "min_score": 0.0},
            "get_memory": {"ids": [id_]},
            "compress_prompt": {"prompt": "read the file " * 50, "max_tokens": 40},
            "rate_memory": {"ids": [id_], "verdict": "helped"},
            "update_memory": {"id": id_, "fields": {"title": "Read it twice"}},
            "capture_knowledge": {"question": "Why twice?", "answer": "Because the first read is slow on this disk."},
            "forget_memory": {"id": id_},
        }.items():
            await client.call_tool(name, arguments)
        await bank.rooms.worker.drain(30)
        bank.monitor.observe("http", 0.01)  # its own test is in tests/mcp/test_figures.py
        await bank.rooms.sampler.look()
        text, _ = exposition(bank.monitor.snapshot())
        return list(text_string_to_metric_families(text.decode()))


async def test_every_tool_call_moves_its_counters(settings: Settings) -> None:
    """The monitor of an earlier system was never fed, and reported nothing but noughts."""
    told = await told_by_a_server(settings)
    counts = {
        sample.labels["operation"]: sample.value
        for family in told
        for sample in family.samples
        if sample.name == "reasoning_bank_operation_seconds_count"
    }
    expected = {f"tool.{spec.name}": 2.0 if spec.name == "store_trace" else 1.0 for spec in FULL}
    assert {name: count for name, count in counts.items() if name.startswith("tool.")} == expected
    below = {
        "retrieve_memory",
        "store_trace",
        "get_memory",
        "compress_prompt",
        "rate_memory",
        "retrieve_memory.keyword",
    }
    rooms = {"sql.read", "sql.write", "sql.commit", "embedding.query", "embedding.batch", "llm", "llm.distil"}
    assert below | rooms <= set(counts)


async def test_the_dashboard_asks_for_nothing_that_is_not_told(settings: Settings) -> None:
    samples = [sample for family in await told_by_a_server(settings) for sample in family.samples]
    for expression in expressions():
        asked = list(re.finditer(r"(reasoning_bank_\w+)(?:\{([^}]*)\})?", expression))
        assert asked, expression
        for each in asked:
            wanted = dict(re.findall(r'(\w+)=~?"([^"]*)"', each[2] or ""))
            wanted.pop("instance", None)  # Prometheus adds it
            found = [
                sample
                for sample in samples
                if sample.name == each[1]
                and all(re.fullmatch(pattern, sample.labels.get(label, "")) for label, pattern in wanted.items())
            ]
            assert found, f"{each[0]} of {expression}"
    labels = {sample.name: set(sample.labels) for sample in samples}
    for target in targets():
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        (first, *_) = re.findall(r"reasoning_bank_\w+", target["expr"])
        assert named <= labels[first], target


def test_prometheus_looks_where_a_server_with_defaults_tells() -> None:
    (job,) = yaml.safe_load((CONFIG / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    http = HttpSettings()
    assert job["metrics_path"] == METRICS_PATH
    assert job["static_configs"][0]["targets"] == [f"{http.host}:{http.port}"]


def test_a_registry_of_a_program_may_hold_a_monitor() -> None:
    monitor = PerformanceMonitor()
    monitor.observe("work", 0.5)
    monitor.observe("work", 1.5, failed=True)
    monitor.count("cache.mine.hits", 3)
    monitor.record_cache_hit()
    families = {family.name: family for family in SnapshotCollector(monitor.snapshot).collect()}
    samples = {(each.name, *each.labels.values()): each.value for f in families.values() for each in f.samples}
    assert samples["reasoning_bank_operation_seconds_sum", "work"] == 2.0
    assert samples["reasoning_bank_operation_seconds", "work", "0.5"] == pytest.approx(0.5, rel=0.025)
    assert samples["reasoning_bank_operation_seconds_max", "work"] == 1.5
    assert samples["reasoning_bank_operation_errors_total", "work"] == 1
    assert samples["reasoning_bank_cache_hits_total", "mine"] == 3
    assert samples["reasoning_bank_cache_hits_total", "calls"] == 1
    assert ("reasoning_bank_cache_hits_total",) not in samples, "one family, one set of labels"


def test_openmetrics_is_told_to_who_asks_for_it() -> None:
    monitor = PerformanceMonitor()
    monitor.count("calls.repeated")
    text, content_type = exposition(monitor.snapshot(), accept="application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


async def test_nothing_is_told_of_a_workspace(settings: Settings) -> None:
    async with ReasoningBank(settings) as bank:
        await bank.store_trace("secret-project", NewTrace("a task of it", "success"))
        text, _ = exposition(bank.monitor.snapshot())
    assert b"secret-project" not in text


def dashboard() -> Mapping[str, Any]:
    return json.loads((CONFIG / "grafana-dashboard.json").read_text(encoding="utf-8"))


def targets() -> Iterator[Mapping[str, str]]:
    for panel in dashboard()["panels"]:
        yield from panel.get("targets", [])


def expressions() -> list[str]:
    return [target["expr"] for target in targets()]
