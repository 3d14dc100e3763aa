"""Thresholds over what was measured, and what they say: pure functions of a snapshot and of what they said before.

A figure is judged only where enough observations stand behind it. What is bad has to stay bad for a while before it is
raised, and good for a while before it clears, so that a figure at its threshold does not flap. What holds after
a while is the level in it that was nearest to what was raised before.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reasoning_bank.errors import ConfigError
from reasoning_bank.monitoring.conditions import check_metric, named_by, observations
from reasoning_bank.monitoring.snapshot import Snapshot, Window
from reasoning_bank.records import JsonValue

Level = Literal["ok", "pending", "warning", "critical"]
Raised = Literal["ok", "warning", "critical"]
_ORDER: Final[tuple[Raised, ...]] = ("ok", "warning", "critical")
_PACKAGED: Final = "alerts.toml"


class Threshold(BaseModel):
    """One row of alerts.toml.

    Attributes:
        metric: as `Snapshot.value` takes it; with `*` it is about each name that fits.
        worse: on which side of its target a figure is bad.
        target, critical: a figure beyond the first is a warning, beyond the second critical.
        least: observations below which a figure says nothing; a gauge needs none.
        for_s, clear_s: how long it has to be bad before it is raised, and well before it clears.
        about: what it means, and where to look.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    metric: str
    worse: Literal["above", "below"] = "above"
    target: float
    critical: float
    window: Window = "15m"
    least: float = Field(default=20, ge=0)
    for_s: float = Field(default=60.0, ge=0)
    clear_s: float = Field(default=300.0, ge=0)
    about: str = Field(min_length=1)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        check_metric(self.metric)
        if (self.critical < self.target) if self.worse == "above" else (self.critical > self.target):
            raise ValueError(f"critical {self.critical:g} is not worse than target {self.target:g}")
        return self

    def judge(self, snapshot: Snapshot, metric: str) -> tuple[Raised, float | None]:
        """What a figure is worth now, and the figure; None where too little stands behind it."""
        value = snapshot.value(metric, self.window)
        if value is None or observations(snapshot, metric, self.window) < self.least:
            return "ok", None
        sign = 1 if self.worse == "above" else -1
        if sign * value > sign * self.critical:
            return "critical", value
        return ("warning" if sign * value > sign * self.target else "ok"), value


@dataclass(frozen=True, slots=True)
class Alert:
    """What a threshold says of one figure.

    Attributes:
        level: `pending` is bad, but not long enough yet to be raised.
        since: when the level began, aware UTC.
        value: the figure; None where too little stands behind it.
        raised: the level that holds, whatever the figure says at this moment.
        turning: since when the figure has been on the other side of `raised`, and the nearest level it had there.
    """

    threshold: Threshold
    metric: str
    level: Level
    since: datetime
    value: float | None
    raised: Raised = "ok"
    turning: tuple[datetime, Raised] | None = None

    @property
    def line(self) -> str:
        """The alert in one sentence."""
        said = "is not measured now" if self.value is None else f"is {self.value:,.4g}"
        bounds = f"target {self.threshold.target:,.6g}, critical {self.threshold.critical:,.6g}"
        return f"{self.threshold.name}: {self.metric} {said} ({bounds}): {self.threshold.about}"

    def plain(self) -> dict[str, JsonValue]:
        """The alert as JSON."""
        return {
            "name": self.threshold.name,
            "metric": self.metric,
            "level": self.level,
            "since": self.since.isoformat(),
            "value": self.value,
            "target": self.threshold.target,
            "critical": self.threshold.critical,
            "window": self.threshold.window,
            "about": self.threshold.about,
        }


Alerts = Mapping[tuple[str, str], Alert]
"""By name of the threshold and metric."""


def judged(thresholds: Iterable[Threshold], before: Alerts, snapshot: Snapshot) -> dict[tuple[str, str], Alert]:
    """What every threshold says at the moment of a snapshot, after what it said before."""
    now: dict[tuple[str, str], Alert] = {}
    for threshold in thresholds:
        said = [metric for name, metric in before if name == threshold.name]
        for metric in sorted({*named_by(threshold.metric, snapshot), *said}):
            key = (threshold.name, metric)
            level, value = threshold.judge(snapshot, metric)
            known = before.get(key) or Alert(threshold, metric, "ok", snapshot.at, value)
            now[key] = _turned(replace(known, value=value), level, snapshot.at)
    return now


def at_once(thresholds: Iterable[Threshold], snapshot: Snapshot) -> list[Alert]:
    """The thresholds a snapshot is beyond, worst first, without waiting: for figures of times that are over."""
    found = [
        Alert(threshold, metric, level, snapshot.at, value, raised=level)
        for threshold in thresholds
        for metric in named_by(threshold.metric, snapshot)
        for level, value in [threshold.judge(snapshot, metric)]
        if level != "ok"
    ]
    return sorted(found, key=lambda alert: (-_ORDER.index(alert.raised), alert.threshold.name, alert.metric))


def changes(before: Alerts, now: Alerts) -> list[Alert]:
    """The alerts whose raised level is another than before."""
    return [alert for key, alert in now.items() if alert.raised != (before[key].raised if key in before else "ok")]


def _turned(alert: Alert, level: Raised, at: datetime) -> Alert:
    if level == alert.raised:
        return _shown(replace(alert, turning=None), at)
    worse = _worse(level, alert)
    since, nearest = at, level
    if alert.turning is not None and _worse(alert.turning[1], alert) == worse:
        since, nearest = alert.turning[0], (min if worse else max)(alert.turning[1], level, key=_ORDER.index)
    if at - since < timedelta(seconds=alert.threshold.for_s if worse else alert.threshold.clear_s):
        return _shown(replace(alert, turning=(since, nearest)), at, pending=worse and alert.raised == "ok")
    return _shown(replace(alert, raised=nearest, turning=None), at)


def _worse(level: Raised, alert: Alert) -> bool:
    return _ORDER.index(level) > _ORDER.index(alert.raised)


def _shown(alert: Alert, at: datetime, *, pending: bool = False) -> Alert:
    level: Level = "pending" if pending else alert.raised
    return alert if level == alert.level else replace(alert, level=level, since=at)


def read_thresholds(file: Path | None = None) -> tuple[Threshold, ...]:
    """The thresholds of a file, or of the package.

    Raises:
        ConfigError: the file cannot be read, or a row says what cannot be meant; names the file and the row.
    """
    place = str(file) if file else _PACKAGED
    try:
        text = (file or files("reasoning_bank.monitoring").joinpath(_PACKAGED)).read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"monitoring.alerts: {place} cannot be read: {error}") from error
    rows: Any = content.pop("alert", [])
    if content or not isinstance(rows, list):
        raise ConfigError(f"{place}: only [[alert]] tables belong into it")
    read = [_threshold(row, f"{place}: alert {number}") for number, row in enumerate(cast("list[Any]", rows), 1)]
    names = [threshold.name for threshold in read]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"{place}: two alerts are named {min(twice)!r}")
    return tuple(read)


def _threshold(row: Any, place: str) -> Threshold:
    try:
        return Threshold.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{place}{f' ({where})' if where else ''}: {first['msg']}") from error
