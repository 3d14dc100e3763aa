"""What was measured in a period, put together for people: figures, alerts, advice, settings on trial, trends."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self, cast

from reasoning_bank.errors import InputError
from reasoning_bank.monitoring.advice import Recommendation
from reasoning_bank.monitoring.alerts import Alert, Threshold, at_once
from reasoning_bank.monitoring.comparison import Change, compare
from reasoning_bank.monitoring.estimates import Estimate, estimates
from reasoning_bank.monitoring.rollups import Rollup, Rollups, of_period, together
from reasoning_bank.monitoring.snapshot import WINDOW_S
from reasoning_bank.monitoring.trials import Trial
from reasoning_bank.monitoring.windows import QUARTER_S
from reasoning_bank.records import JsonValue

CHARTS: Final[Mapping[str, Sequence[str]]] = {
    "95 % of calls took at most (ms)": (
        "retrieve_memory:p95_ms",
        "store_trace:p95_ms",
        "compress_prompt:p95_ms",
        "llm:p95_ms",
        "http:p95_ms",
    ),
    "Answered from a cache (share)": (
        "cache.retrieval:hit_rate",
        "cache.queries:hit_rate",
        "cache.memories:hit_rate",
        "cache.llm:hit_rate",
    ),
    "Calls in a quarter of an hour": ("retrieve_memory:count", "store_trace:count", "llm:count"),
    "Memory of the process (bytes)": ("process.rss_bytes:value",),
    "Background work that waits (pieces)": ("queue.pending:value",),
}
"""Title of a chart -> the metrics it may show; what was not measured is left out."""

_DAY_S: Final = 86_400
_FORMAT: Final = "reasoning-bank report 1"


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of a period.

    Attributes:
        since, until: the period, aware UTC; its end is not part of it.
        figures: by metric.
        series: by metric of a chart, (seconds since the epoch, value) for each quarter of an hour.
        alerts: thresholds that were passed: name, metric, level, quarters and the worst value.
        advice: recommendations, as JSON.
        tuning: settings that were changed on advice, as JSON.
    """

    since: datetime
    until: datetime
    figures: Mapping[str, Estimate]
    series: Mapping[str, Sequence[tuple[int, float]]]
    alerts: Sequence[Mapping[str, JsonValue]]
    advice: Sequence[Mapping[str, JsonValue]]
    tuning: Sequence[Mapping[str, JsonValue]]

    @property
    def title(self) -> str:
        """What the report is about."""
        return f"{_minute(self.since)} to {_minute(self.until)} UTC"

    def plain(self) -> dict[str, JsonValue]:
        """The report as JSON."""
        return {
            "format": _FORMAT,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "figures": {metric: each.plain() for metric, each in self.figures.items()},
            "series": {metric: [[at, value] for at, value in points] for metric, points in self.series.items()},
            "alerts": [dict(each) for each in self.alerts],
            "advice": [dict(each) for each in self.advice],
            "tuning": [dict(each) for each in self.tuning],
        }

    @classmethod
    def of_plain(cls, plain: object) -> Self:
        """What `plain` wrote; raises InputError where it did not."""
        try:
            fields = cast("Mapping[str, Any]", plain)
            if fields["format"] != _FORMAT:
                raise InputError(f"the report has the format {fields['format']!r}, not {_FORMAT!r}")
            return cls(
                datetime.fromisoformat(fields["since"]),
                datetime.fromisoformat(fields["until"]),
                {metric: Estimate.of_plain(each) for metric, each in fields["figures"].items()},
                {metric: [(int(at), float(value)) for at, value in each] for metric, each in fields["series"].items()},
                fields["alerts"],
                fields["advice"],
                fields["tuning"],
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"no saved report: {error}") from error


def report_of(
    rollups: Rollups,
    *,
    since: datetime,
    until: datetime,
    thresholds: Iterable[Threshold] = (),
    advice: Iterable[Recommendation] = (),
    tuning: Iterable[Trial] = (),
) -> Report:
    """The report on what was measured in a period."""
    total = together(rollups)
    alerts = _passed(list(thresholds), rollups, since, until)
    minutes = (until - since).total_seconds() / 60
    return Report(
        since,
        until,
        estimates(total, minutes=minutes),
        _series(_parts(rollups, since, QUARTER_S)),
        alerts,
        [each.plain() for each in advice],
        [each.plain() for each in tuning],
    )


def compared(before: Report, after: Report) -> list[Change]:
    """What both reports have of figures with a better side: worse, then better, then without a clear difference."""
    order = ("worse", "better", "unclear")
    changes = [change for change in compare(before.figures, after.figures) if change.verdict in order]
    return sorted(changes, key=lambda change: order.index(change.verdict))


def period(text: str, *, now: datetime) -> tuple[datetime, datetime]:
    """The begin and end that words mean, in UTC.

    Args:
        text: `today`, `yesterday`, `day` (24 hours up to now), `week`, a date, or BEGIN/END in ISO 8601.

    Raises:
        InputError: it is none of these.
    """
    now = now.astimezone(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    day = timedelta(days=1)
    known = {
        "today": (midnight, now),
        "yesterday": (midnight - day, midnight),
        "day": (now - day, now),
        "week": (now - 7 * day, now),
    }
    if text in known:
        return known[text]
    try:
        begin, end = (_moment(part) for part in text.split("/")) if "/" in text else _day(text)
    except ValueError:
        raise InputError(f"no period {text!r}: send {', '.join(known)}, a date, BEGIN/END or a saved report") from None
    if begin >= end:
        raise InputError(f"the period {text!r} ends before it begins")
    return begin, end


def _day(text: str) -> tuple[datetime, datetime]:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise ValueError(text)
    begin = _moment(text)
    return begin, begin + timedelta(days=1)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _parts(rollups: Rollups, since: datetime, seconds: int) -> dict[int, dict[str, Rollup]]:
    """Roll-ups by name for each part of a period with any; parts of so many seconds, by their begin."""
    first, parts = int(since.timestamp()), dict[int, dict[tuple[int, str], Rollup]]()
    for (start, name), rollup in sorted(rollups.items(), key=lambda item: item[0]):
        part = first + (start - first) // seconds * seconds
        parts.setdefault(part, {})[start, name] = rollup
    return {part: together(inside) for part, inside in parts.items()}


def _passed(
    thresholds: Sequence[Threshold], rollups: Rollups, since: datetime, until: datetime
) -> list[Mapping[str, JsonValue]]:
    """Each threshold that was passed in any quarter, or day where it is about one: how badly, and for how long."""
    found: dict[tuple[str, str], dict[str, JsonValue]] = {}
    for width in (QUARTER_S, _DAY_S):
        held = [each for each in thresholds if (WINDOW_S.get(each.window, _DAY_S) > QUARTER_S) == (width > QUARTER_S)]
        for start, inside in _parts(rollups, since, width).items():
            # The last part may have just begun; a minute is the least that rates are told of.
            seconds = max(60.0, min(width, until.timestamp() - start))
            end = datetime.fromtimestamp(start + seconds, UTC)
            for alert in at_once(held, of_period(inside, until=end, seconds=seconds)):
                _note(found, alert, quarters=math.ceil(seconds / QUARTER_S))
    return [found[key] for key in sorted(found, key=lambda key: (found[key]["level"] != "critical", key))]


def _note(found: dict[tuple[str, str], dict[str, JsonValue]], alert: Alert, *, quarters: int) -> None:
    row = found.setdefault((alert.threshold.name, alert.metric), alert.plain() | {"quarters": 0})
    row["quarters"] = cast("int", row["quarters"]) + quarters
    beyond = alert.threshold.worse == "above"
    if (cast("float", alert.value) > cast("float", row["value"])) == beyond:
        row |= {"value": alert.value, "level": alert.level}


def _series(quarters: Mapping[int, Mapping[str, Rollup]]) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = {}
    for start, rollups in quarters.items():
        snapshot = of_period(rollups, until=datetime.fromtimestamp(start + QUARTER_S, UTC), seconds=QUARTER_S)
        for metric in (metric for metrics in CHARTS.values() for metric in metrics):
            if (value := snapshot.value(metric)) is not None:
                series.setdefault(metric, []).append((start, value))
    return series
