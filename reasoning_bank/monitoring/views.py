"""A snapshot as JSON: since the start only, or every window."""

from collections.abc import Mapping
from typing import TypeVar, cast

from reasoning_bank.monitoring.snapshot import Snapshot, Summary
from reasoning_bank.records import JsonValue

Json = dict[str, JsonValue]

T = TypeVar("T")


def statistics(snapshot: Snapshot) -> Json:
    """Uptime in seconds, every counter above nought, and a summary per operation, since the start."""
    return {
        "uptime_s": round(snapshot.uptime_s, 3),
        "counters": {name: _plain(total) for name, windows in snapshot.counters.items() if (total := windows["start"])},
        "operations": {name: _milliseconds(windows["start"]) for name, windows in snapshot.operations.items()},
    }


def full(snapshot: Snapshot, name: str | None = None) -> Json:
    """Every figure in every window.

    Args:
        name: of an operation, counter or gauge, or of a group of them (`tool` for all that begin with `tool.`).
    """
    return {
        "at": snapshot.at.isoformat(timespec="milliseconds"),
        "uptime_s": round(snapshot.uptime_s, 3),
        "operations": {
            each: cast("JsonValue", {window: _milliseconds(summary) for window, summary in windows.items()})
            for each, windows in _chosen(snapshot.operations, name).items()
        },
        "counters": {
            each: cast("JsonValue", {window: _plain(amount) for window, amount in windows.items()})
            for each, windows in _chosen(snapshot.counters, name).items()
        },
        "gauges": {each: _plain(value) for each, value in _chosen(snapshot.gauges, name).items()},
    }


def _chosen(figures: Mapping[str, T], name: str | None) -> Mapping[str, T]:
    if name is None:
        return figures
    return {each: figure for each, figure in figures.items() if each == name or each.startswith(f"{name}.")}


def _milliseconds(summary: Summary) -> Json:
    return {
        "count": summary.count,
        "errors": summary.errors,
        "mean_ms": _ms(summary.total_s / summary.count),
        "min_ms": _ms(summary.smallest_s),
        "p50_ms": _ms(summary.p50_s),
        "p95_ms": _ms(summary.p95_s),
        "p99_ms": _ms(summary.p99_s),
        "max_ms": _ms(summary.largest_s),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _plain(value: float) -> float:
    return int(value) if value == int(value) else round(value, 3)
