"""A snapshot as Prometheus reads it, by prometheus-client: the same figures as everywhere else, named its way.

An operation is a summary: count and sum since the start, quantiles of the last quarter of an hour, within 2.5 %. (The
buckets of a Prometheus histogram that are as exact would be sixty series for each operation.) No label holds a
workspace, an id or a text; their values are names in the code and the settings.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import choose_encoder

from reasoning_bank.monitoring.snapshot import Snapshot, Summary, Window

PREFIX: Final = "reasoning_bank_"
QUANTILE_WINDOW: Final[Window] = "15m"
_LABELLED: Final = tuple(
    (re.compile(pattern), label)
    for pattern, label in (
        (r"(?P<family>cache)\.(?P<value>.+)\.(?P<rest>[^.]+)", "cache"),
        (r"(?P<family>queue)\.(?P<value>[^.]+)\.(?P<rest>[^.]+)", "kind"),
        (r"(?P<family>llm\.tokens)\.(?P<value>[^.]+)(?P<rest>)", "purpose"),
        (r"(?P<family>searches)\.(?P<value>[^.]+)(?P<rest>)", "path"),
        (r"(?P<family>returned|helped|degraded)\.(?P<value>[^.]+)(?P<rest>)", "strategy"),
    )
)
"""Names with a part that becomes a label: `cache.memories.hits` is `cache_hits{cache="memories"}`."""
_OF_NO_CACHE: Final = {"cache_hits": "cache.calls.hits", "cache_misses": "cache.calls.misses"}
"""What programs count by `record_cache_hit` without naming a cache; unlabelled it would be the sum of its family."""


def exposition(snapshot: Snapshot, *, accept: str = "") -> tuple[bytes, str]:
    """A snapshot as text, and its content type.

    Args:
        accept: the header of who asks: the OpenMetrics format where it names that, else the plain one.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(lambda: snapshot))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class SnapshotCollector:
    """A collector of prometheus-client over snapshots; `exposition` uses it, and a program's own registry may.

    Args:
        snapshot: returns the figures as of now.
    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield every figure."""
        snapshot = self._snapshot()
        yield GaugeMetricFamily(f"{PREFIX}uptime_seconds", "Since the start or the last reset.", snapshot.uptime_s)
        yield from _operations(snapshot.operations)
        counted = {name: windows["start"] for name, windows in snapshot.counters.items()}
        yield from _families(CounterMetricFamily, counted, "Counted since the start.")
        yield from _families(GaugeMetricFamily, snapshot.gauges, "As it stands.")


def _operations(operations: Mapping[str, Mapping[Window, Summary]]) -> Iterator[Metric]:
    seconds = SummaryMetricFamily(
        f"{PREFIX}operation_seconds", "Duration of a call; quantiles of the last 15 minutes.", labels=["operation"]
    )
    slowest = GaugeMetricFamily(
        f"{PREFIX}operation_seconds_max", "Longest call of the last 15 minutes.", labels=["operation"]
    )
    errors = CounterMetricFamily(f"{PREFIX}operation_errors", "Calls that failed.", labels=["operation"])
    for name, windows in operations.items():
        total, recent = windows["start"], windows.get(QUANTILE_WINDOW)
        seconds.add_metric([name], count_value=total.count, sum_value=total.total_s)
        errors.add_metric([name], total.errors)
        if recent is not None:
            slowest.add_metric([name], recent.largest_s)
            for share, value in (("0.5", recent.p50_s), ("0.95", recent.p95_s), ("0.99", recent.p99_s)):
                seconds.add_sample(seconds.name, {"operation": name, "quantile": share}, value)
    yield from (seconds, slowest, errors)


def _families(
    make: type[CounterMetricFamily] | type[GaugeMetricFamily], figures: Mapping[str, float], about: str
) -> Iterable[Metric]:
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for name, value in figures.items():
        family, labels = _named(name)
        if family not in families:
            families[family] = make(f"{PREFIX}{family}", about, labels=list(labels))
        families[family].add_metric(list(labels.values()), value)
    return families.values()


def _named(name: str) -> tuple[str, Mapping[str, str]]:
    """The family of a counter or gauge, and the labels that tell it from others of the family."""
    name = _OF_NO_CACHE.get(name, name)
    for pattern, label in _LABELLED:
        if found := pattern.fullmatch(name):
            family = "_".join(filter(None, (found["family"], found["rest"])))
            return _word(family), {label: found["value"]}
    return _word(name), {}


def _word(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)
