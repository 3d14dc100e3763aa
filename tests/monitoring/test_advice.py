"""Advice: which rules speak on which figures, what they say, and that none speaks without figures."""

import json
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from reasoning_bank.monitoring.advice import (
    OptimizationPriority,
    OptimizationType,
    Optimizer,
    Recommendation,
    Rule,
    packaged_rules,
    run_system_optimization,
)
from reasoning_bank.monitoring.snapshot import Snapshot, Summary, Window
from reasoning_bank.opening.tuning import TUNABLE
from reasoning_bank.settings import Settings, setting_names

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SETTINGS = {"setting.cache.retrieval.size": 50.0, "setting.cache.retrieval.ttl_s": 300.0}


def summary(ms: float, *, count: int = 100, errors: int = 0) -> Summary:
    return Summary(count, errors, count * ms / 1000, *(ms / 1000 for _ in range(5)))


def snapshot(
    operations: Mapping[str, Summary] | None = None,
    counters: Mapping[str, float] | None = None,
    gauges: Mapping[str, float] | None = None,
) -> Snapshot:
    window: Window = "24h"
    return Snapshot(
        NOW,
        600.0,
        {name: {window: each} for name, each in (operations or {}).items()},
        {name: {window: each} for name, each in (counters or {}).items()},
        gauges or {},
    )


def lookups(name: str, *, hits: float, misses: float, by_size: float = 0, expired: float = 0) -> dict[str, float]:
    counts = {"hits": hits, "misses": misses, "missed_by_size": by_size, "expirations": expired, "evictions": by_size}
    return {f"cache.{name}.{kind}": count for kind, count in counts.items()}


def advised(given: Snapshot, further: Mapping[str, float] | None = None) -> dict[str, Recommendation]:
    return {each.name: each for each in run_system_optimization(given, further=further).recommendations}


def test_without_figures_nothing_is_advised() -> None:
    assert advised(snapshot()) == {}
    every_setting = {f"setting.{name}": 1.0 for name, _ in setting_names()}
    assert advised(snapshot(), every_setting | {"machine.gpus": 0.0, "machine.memory_bytes": 1e9}) == {}


def test_a_cache_that_misses_what_it_evicted_is_too_small() -> None:
    found = advised(snapshot(counters=lookups("retrieval", hits=40, misses=160, by_size=120)), SETTINGS)
    advice = found["cache-too-small-retrieval"]
    assert (advice.setting, advice.current, advice.value) == ("cache.retrieval.size", 50.0, 100)
    assert advice.example == "[cache.retrieval]\nsize = 100"
    assert advice.evidence == {
        "cache.retrieval:lookups": 200.0,
        "cache.retrieval:hit_rate": 0.2,
        "cache.retrieval.missed_by_size:count": 120.0,
    }
    assert (advice.priority, advice.safe, advice.judged_by) == ("high", True, "cache.retrieval:hit_rate")


def test_a_cache_whose_queries_do_not_repeat_is_not_enlarged() -> None:
    settings = {"setting.cache.retrieval.size": 500.0}
    found = advised(snapshot(counters=lookups("retrieval", hits=5, misses=595, by_size=3)), settings)
    assert list(found) == ["cache-without-repeats-retrieval"]
    assert found["cache-without-repeats-retrieval"].value == 250


def test_a_cache_whose_entries_expire_lives_too_short() -> None:
    found = advised(snapshot(counters=lookups("retrieval", hits=50, misses=150, expired=100)), SETTINGS)
    assert found["cache-lifetime-too-short-retrieval"].example == "[cache.retrieval]\nttl_s = 600"


def test_what_a_cache_never_counted_is_nought() -> None:
    """As a bank stores it: counters at nought are left out."""
    expired = lookups("retrieval", hits=50, misses=150, expired=100)
    for zero in ("cache.retrieval.evictions", "cache.retrieval.missed_by_size"):
        del expired[zero]
    assert "cache-lifetime-too-short-retrieval" in advised(snapshot(counters=expired), SETTINGS)
    unlike = {"cache.retrieval.hits": 5.0, "cache.retrieval.misses": 595.0}
    found = advised(snapshot(counters=unlike), {"setting.cache.retrieval.size": 500.0})
    assert found["cache-without-repeats-retrieval"].evidence["cache.retrieval.missed_by_size:count"] == 0


def test_a_cache_that_serves_well_is_left_alone() -> None:
    assert advised(snapshot(counters=lookups("retrieval", hits=180, misses=20, by_size=10)), SETTINGS) == {}


def test_few_lookups_say_nothing() -> None:
    assert advised(snapshot(counters=lookups("retrieval", hits=5, misses=60, by_size=60)), SETTINGS) == {}


def test_what_is_safe_is_judged_by_what_a_trial_can_tell() -> None:
    rule = packaged_rules()[0].model_dump()
    for judge in (None, "process.rss_bytes:value"):
        with pytest.raises(ValidationError, match="judged by"):
            Rule.model_validate(rule | {"judged_by": judge})
    for each in packaged_rules():
        assert each.safe <= (each.setting is not None and each.setting.replace("*", "queries") in TUNABLE)
        assert each.safe == (each.effort == 1), "what is tried at once is what a running server can take up"


def test_whole_numbers_stay_whole() -> None:
    given = snapshot({"embedding.batch": summary(100)})
    advice = advised(given, {"setting.embeddings.batch_size": 128.0, "machine.gpus": 0.0})
    assert advice["batch-too-large-for-processor"].example == "[embeddings]\nbatch_size = 32"


def test_a_bound_ends_growing() -> None:
    counters = lookups("retrieval", hits=40, misses=160, by_size=120)
    assert advised(snapshot(counters=counters), {"setting.cache.retrieval.size": 100_000.0}) == {}


@pytest.mark.parametrize(
    ("name", "given", "further"),
    [
        ("slow-query-embedding", snapshot({"embedding.query": summary(400), "retrieve_memory": summary(300)}),
         {"setting.embeddings.backend=openai": 1.0}),
        ("slow-local-embedding", snapshot({"embedding.query": summary(90)}),
         {"setting.embeddings.backend=onnx": 1.0, "setting.embeddings.precision=fp32": 1.0}),
        ("caches-off", snapshot({"retrieve_memory": summary(30)}), {"setting.cache.enabled": 0.0}),
        ("searches-not-kept", snapshot({"retrieve_memory": summary(30)}), {"setting.cache.retrieval.size": 0.0}),
        ("cold-model", snapshot({"retrieve_memory": summary(30, count=10)}, {"degraded.semantic": 4}), {}),
        ("many-memories", snapshot({"retrieve_memory": summary(150)}, gauges={"memories": 60_000}), {}),
        ("batch-too-large-for-processor", snapshot({"embedding.batch": summary(100)}),
         {"setting.embeddings.batch_size": 128.0, "machine.gpus": 0.0}),
        ("batch-too-small-for-gpu", snapshot({"embedding.batch": summary(100)}),
         {"setting.embeddings.batch_size": 32.0, "machine.gpus": 1.0,
          "setting.embeddings.backend=sentence_transformers": 1.0}),
        ("background-behind", snapshot(gauges={"queue.oldest_s": 90, "queue.pending": 500}),
         {"setting.background.batch": 32.0}),
        ("failing-background-work-embed", snapshot({"queue.embed": summary(10, errors=20)}), {}),
        ("model-pool-exhausted", snapshot(counters={"llm.waits": 20, "llm.requests": 100}),
         {"setting.llm.pool_size": 10.0}),
        ("model-queue", snapshot(gauges={"llm.waiting": 11}), {}),
        ("slow-model", snapshot({"llm": summary(6_000)}), {}),
        ("failing-model", snapshot({"llm": summary(600, errors=20)}), {}),
        ("little-compression", snapshot({"compress_prompt": summary(5)},
         {"compression.tokens_before": 1_000, "compression.tokens_after": 900}), {"setting.compression.ratio": 0.9}),
        ("readers-exhausted", snapshot({"sql.read": summary(30)}, {"sql.reader_waits": 30}),
         {"setting.storage.readers": 3.0}),
        ("slow-statements", snapshot(counters={"sql.slow": 50}), {}),
        ("slow-flush", snapshot({"sql.commit": summary(80)}), {"setting.durability=full": 1.0}),
        ("many-small-writes", snapshot({"sql.commit": summary(2, count=9_000), "store_trace": summary(3, count=900)}),
         {}),
        ("high-memory", snapshot(gauges={"process.rss_bytes": 5e9}),
         {"machine.memory_bytes": 1e10, "setting.cache.memory_mb": 256.0}),
        ("many-workspaces-in-memory", snapshot(gauges={"process.rss_bytes": 5e9}),
         {"machine.memory_bytes": 1e10, "setting.cache.workspaces": 64.0}),
        ("busy-processor", snapshot(gauges={"process.cpu_percent": 95}), {"machine.cores": 4.0}),
        ("blocked-event-loop", snapshot({"event_loop.lag": summary(300)}), {}),
        ("queries-embedded-again", snapshot({"embedding.query": summary(50)}, {"cache.queries.missed_by_size": 30}),
         {"setting.cache.queries.size": 100.0}),
        ("large-workspaces-searched-exactly",
         snapshot({"retrieve_memory.semantic": summary(90)}, gauges={"memories": 60_000}),
         {"setting.vectors.search=exact": 1.0}),
    ],
)  # fmt: skip
def test_each_rule_speaks_on_its_figures(name: str, given: Snapshot, further: Mapping[str, float]) -> None:
    advice = advised(given, further)[name]
    assert advice.evidence
    assert advice.example
    json.dumps(advice.plain())


def test_every_rule_is_tried_above() -> None:
    parametrized = next(
        mark for mark in test_each_rule_speaks_on_its_figures.pytestmark if mark.name == "parametrize"  # type: ignore[attr-defined]
    )  # fmt: skip
    tried = {name for name, _, _ in parametrized.args[1]} | {
        "cache-too-small-x", "cache-lifetime-too-short-x", "cache-without-repeats-x"
    }  # fmt: skip
    assert [rule.name for rule in packaged_rules() if not any(each.startswith(rule.name) for each in tried)] == []


def test_rules_name_settings_that_exist_and_values_they_accept() -> None:
    names = {name for name, _ in setting_names()}
    for rule in packaged_rules():
        words = [rule.setting or "", *(word for line in rule.when for word in line.split())]
        for word in words:
            name = word.removeprefix("setting.").partition("=")[0].replace("*", "retrieval")
            if word == rule.setting or word.startswith("setting."):
                assert name in names or not name, f"{rule.name}: {word}"
        if rule.setting and rule.change.to is not None:
            table, _, key = rule.setting.rpartition(".")
            nested: dict[str, object] = {key: rule.change.to}
            for part in reversed(table.split(".") if table else []):
                nested = {part: nested}
            Settings.model_validate(nested)


def test_the_example_is_a_file_of_settings() -> None:
    for given, further in (
        (snapshot({"sql.commit": summary(80)}), {"setting.durability=full": 1.0}),
        (snapshot({"retrieve_memory": summary(30)}), {"setting.cache.enabled": 0.0}),
    ):
        for advice in advised(given, further).values():
            Settings.model_validate(tomllib.loads(advice.example))


def test_what_is_worth_its_effort_comes_first_and_the_plan_has_phases() -> None:
    counters = lookups("retrieval", hits=40, misses=160, by_size=120)
    given = snapshot({"llm": summary(6_000), "event_loop.lag": summary(300)}, counters)
    report = run_system_optimization(given, further=SETTINGS)
    assert [each.priority for each in report.recommendations] == ["high", "medium", "low"]
    plan = report.implementation_plan
    assert [title.split(":")[0] for title, _ in plan] == ["at once", "next", "later"]
    assert [[each.name for each in steps] for _, steps in plan] == [
        ["cache-too-small-retrieval"], ["slow-model"], ["blocked-event-loop"]
    ]  # fmt: skip
    plain = report.plain()
    json.dumps(plain)
    assert {"prioritized_recommendations", "implementation_plan"} <= plain.keys()


def test_a_rule_of_a_program_gives_the_figures_it_looked_at_as_evidence() -> None:
    optimizer = Optimizer()
    optimizer.add_optimization_rule(
        condition=lambda figures: figures.get("retrieve_memory:mean_ms", 0) > 1_000,
        opt_type=OptimizationType.CACHE,
        priority=OptimizationPriority.HIGH,
        description="Slow function detected",
        estimated_improvement=75.0,
        change=("cache.retrieval.size", 900),
    )
    slow = snapshot({"retrieve_memory": summary(1_500)})
    (advice,) = optimizer.run_system_optimization(slow, further=SETTINGS).recommendations
    assert advice.evidence == {"retrieve_memory:mean_ms": 1_500.0}
    assert (advice.priority, advice.name, advice.current) == ("high", "slow-function-detected", 50.0)
    assert advice.expected == "about 75 % (estimate)"
    assert optimizer.run_system_optimization(snapshot({"retrieve_memory": summary(100)})).recommendations == []


def test_a_rule_of_a_program_that_looked_at_nothing_is_not_believed() -> None:
    optimizer = Optimizer()
    optimizer.add_optimization_rule(lambda figures: figures.get("x:mean_ms", 9) > 1, description="always")
    assert optimizer.run_system_optimization(snapshot()).recommendations == []


def test_evidence_lists_every_figure_there_is() -> None:
    seen: list[set[str]] = []
    optimizer = Optimizer()
    optimizer.add_optimization_rule(lambda figures: bool(seen.append(set(figures))), description="looks")
    given = snapshot({"llm": summary(5)}, gauges={"memories": 3})
    optimizer.run_system_optimization(given, further={"machine.cores": 2.0})
    assert seen == [{"machine.cores", "memories:value", "llm:count"}]
