"""The figures of a report as tables of text: the same cells for a terminal and for a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from reasoning_bank.monitoring.comparison import Change
from reasoning_bank.monitoring.estimates import Estimate
from reasoning_bank.monitoring.report import Report
from reasoning_bank.records import JsonValue

_CHIEF = (
    "retrieve_memory:mean_ms",
    "retrieve_memory:p95_ms",
    "store_trace:mean_ms",
    "cache.retrieval:hit_rate",
    "llm:mean_ms",
)
_OPERATION = ("count", "error_rate", "mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")


@dataclass(frozen=True, slots=True)
class Table:
    """Cells under their headers; `rows` may be empty, then `otherwise` says what that means."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    otherwise: str


def tables(report: Report) -> Iterator[Table]:
    """What a report says, the most important first."""
    yield Table(
        "Alerts",
        ("level", "alert", "metric", "worst", "target", "critical", "quarters"),
        [
            _cells(each, ("level", "name", "metric", "value", "target", "critical", "quarters"))
            for each in report.alerts
        ],
        "no threshold was passed",
    )
    yield Table(
        "Advice",
        ("priority", "advice", "change", "evidence", "expected"),
        [_advice(each) for each in report.advice],
        "nothing to change by these figures",
    )
    yield Table(
        "Settings changed on advice",
        ("setting", "from", "to", "state", "why"),
        [_cells(each, ("setting", "previous", "value", "state", "reason")) for each in report.tuning],
        "none",
    )
    yield _operations(report.figures)
    yield _caches(report.figures)
    yield _rest(report.figures)


def comparison_table(changes: Sequence[Change]) -> Table:
    """What clearly changed, with the interval of each figure, and the chief figures in any case."""
    shown = [change for change in changes if change.verdict != "unclear" or change.metric in _CHIEF]
    rows = [
        (
            change.metric,
            _interval(change.before),
            _interval(change.after),
            "-" if change.ratio is None else f"x {change.ratio:.3g}",
            change.verdict,
        )
        for change in shown
    ]
    hidden = len(changes) - len(shown)
    title = f"Before and after{f' ({hidden} more without a clear difference)' if hidden else ''}"
    return Table(title, ("metric", "before", "after", "ratio", "verdict"), rows, "nothing both measured")


def number(value: float) -> str:
    """A figure in few characters."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:,.3g}" if abs(value) < 1_000 else f"{value:,.0f}"


def _operations(figures: Mapping[str, Estimate]) -> Table:
    names = {metric.removesuffix(":mean_ms") for metric in figures if metric.endswith(":mean_ms")}
    # Where the time went, first.
    names = sorted(names, key=lambda name: -figures[f"{name}:count"].value * figures[f"{name}:mean_ms"].value)
    rows = [
        (
            name,
            number(_of(figures, name, "count") * _of(figures, name, "mean_ms") / 1000),
            *(number(_of(figures, name, statistic)) for statistic in _OPERATION),
        )
        for name in names
    ]
    headers = ("operation", "total s", "calls", "errors", "mean ms", "p50 ms", "p95 ms", "p99 ms", "max ms")
    return Table(
        "Operations, by the time they took", headers, rows, "no server measured anything; commands are not counted"
    )


def _caches(figures: Mapping[str, Estimate]) -> Table:
    names = [metric.removesuffix(":hit_rate") for metric in figures if metric.endswith(":hit_rate")]
    rows = [
        (
            name,
            number(figures[f"{name}:lookups"].value),
            _interval(figures[f"{name}:hit_rate"]),
            *(number(_of(figures, f"{name}.{kind}", "count")) for kind in ("evictions", "expirations")),
        )
        for name in names
    ]
    return Table("Caches", ("cache", "lookups", "hit rate", "evictions", "expirations"), rows, "none was asked")


def _rest(figures: Mapping[str, Estimate]) -> Table:
    cached = {metric.removesuffix(":hit_rate") for metric in figures if metric.endswith(":hit_rate")}
    operations = {metric.removesuffix(":mean_ms") for metric in figures if metric.endswith(":mean_ms")}
    rows: list[Sequence[str]] = []
    for metric, each in figures.items():
        name, _, statistic = metric.rpartition(":")
        if statistic == "value":
            rows.append((name, number(each.value), f"{number(each.low)} to {number(each.high)}"))
        elif statistic == "count" and name not in operations and name.rpartition(".")[0] not in cached:
            rows.append((name, number(each.value), ""))
    return Table("Gauges (mean, range) and counters", ("name", "value", "range"), rows, "none")


def _of(figures: Mapping[str, Estimate], name: str, statistic: str) -> float:
    found = figures.get(f"{name}:{statistic}")
    return found.value if found else 0.0


def _interval(each: Estimate) -> str:
    exact = each.low == each.value == each.high
    return number(each.value) if exact else f"{number(each.value)} ({number(each.low)} to {number(each.high)})"


def _advice(each: Mapping[str, JsonValue]) -> Sequence[str]:
    evidence = cast("Mapping[str, float]", each["evidence"])
    return (
        str(each["priority"]),
        str(each["description"]),
        " ".join(str(each["example"]).split("\n")),
        ", ".join(f"{name} {number(value)}" for name, value in evidence.items()),
        str(each["expected"]),
    )


def _cells(row: Mapping[str, JsonValue], names: Sequence[str]) -> Sequence[str]:
    return tuple(_cell(row.get(name)) for name in names)


def _cell(value: JsonValue) -> str:
    return number(value) if isinstance(value, int | float) else "-" if value is None else str(value)
