"""Advice from measured figures: which setting to change, to what, and why. No rule speaks without figures.

A rule sees a mapping of figures; what it looked at is the evidence it gives. The rules of the package are in
`advice.toml`: each line of `when` compares a figure with a number or another figure, and all have to hold.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib.resources import files
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reasoning_bank.monitoring.conditions import ANY, COMPARISON, Evidence, check_metric, holds
from reasoning_bank.monitoring.snapshot import Snapshot, Window
from reasoning_bank.records import JsonValue


class OptimizationType(StrEnum):
    """What a recommendation changes."""

    CACHE = "cache"
    BATCH = "batch"
    CONCURRENCY = "concurrency"
    MODEL = "model"
    DATABASE = "database"
    MEMORY = "memory"
    COMPRESSION = "compression"
    SCALE = "scale"


class OptimizationPriority(StrEnum):
    """Impact against effort."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


PHASES: Final = ("at once: a setting, tried and taken back", "next: a setting that needs a restart", "later: a project")


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to change, and the figures that say so.

    Attributes:
        evidence: the figures it rests on, by name.
        setting, current, value: what to change, from what to what; None where `command` says what to do.
        effort, impact: 1 to 3.
        judged_by: the metric that has to improve.
        safe: may be applied without asking: it changes speed and memory only, and can be taken back.
    """

    name: str
    type: OptimizationType
    description: str
    evidence: Mapping[str, float]
    expected: str
    impact: int
    effort: int
    setting: str | None = None
    current: float | None = None
    value: float | str | bool | None = None
    command: str | None = None
    judged_by: str | None = None
    safe: bool = False

    @property
    def priority(self) -> OptimizationPriority:
        """Impact against effort."""
        if self.impact > self.effort:
            return OptimizationPriority.HIGH
        return OptimizationPriority.MEDIUM if self.impact == self.effort else OptimizationPriority.LOW

    @property
    def phase(self) -> int:
        """When: 1 at once, 2 with a restart, 3 as a project."""
        return self.effort

    @property
    def example(self) -> str:
        """The change as lines of the configuration file, or as a command."""
        if self.setting is None:
            return self.command or ""
        table, _, key = self.setting.rpartition(".")
        return f"[{table}]\n{key} = {json.dumps(self.value)}" if table else f"{key} = {json.dumps(self.value)}"

    def plain(self) -> dict[str, JsonValue]:
        """The recommendation as JSON."""
        return {
            "name": self.name,
            "type": self.type.value,
            "priority": self.priority.value,
            "phase": self.phase,
            "description": self.description,
            "evidence": {name: float(f"{value:.6g}") for name, value in self.evidence.items()},
            "setting": self.setting,
            "current": self.current,
            "value": self.value,
            "expected": self.expected,
            "example": self.example,
            "judged_by": self.judged_by,
            "safe": self.safe,
        }


class _Change(BaseModel):
    """How the new value of a setting follows from the old."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: bool | int | float | str | None = None
    times: float | None = None
    most: float = float("inf")
    least: float = 0.0

    def of(self, current: float | None) -> float | str | bool | None:
        """The new value; None where there is nothing to change."""
        if self.times is None or current is None:
            return None if self.to == current else self.to
        value = min(max(current * self.times, self.least), self.most)
        value = round(value) if float(current).is_integer() else value
        # Already at or beyond the bound: nothing is left to change in this direction.
        return value if (value - current) * (self.times - 1) > 0 else None


class Rule(BaseModel):
    """One row of advice.toml.

    Attributes:
        when: comparisons that all have to hold: `FIGURE < NUMBER`, `FIGURE >= 0.1 x FIGURE`. With `*` in the first, the
            rule is about each name that fits, and `*` elsewhere is that name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    type: OptimizationType
    when: tuple[str, ...] = Field(min_length=1)
    description: str = Field(min_length=1)
    expected: str = Field(min_length=1)
    impact: int = Field(ge=1, le=3)
    effort: int = Field(ge=1, le=3)
    setting: str | None = None
    change: _Change = _Change()
    command: str | None = None
    judged_by: str | None = None
    safe: bool = False

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for line in self.when:
            if not (found := COMPARISON.fullmatch(line)):
                raise ValueError(f"{self.name}: {line!r} is no comparison: write FIGURE > NUMBER")
            for figure in (found["left"], found["right"]):
                if ":" in figure:
                    check_metric(figure)
        if (self.setting is None) == (self.command is None):
            raise ValueError(f"{self.name}: name a setting and its change, or a command")
        if self.safe and (self.judged_by is None or self.judged_by.endswith(":value")):
            raise ValueError(f"{self.name}: what is safe is judged by calls or look-ups, not by a gauge")
        return self

    def recommendations(self, figures: Evidence) -> Iterator[Recommendation]:
        """What the rule says of each thing it is about."""
        first = self.when[0].split()[0]
        for part in figures.about(first) if ANY in first else [""]:
            evidence = figures.afresh()
            if all(holds(line.replace(ANY, part), evidence) for line in self.when):
                yield from self._recommended(part, evidence)

    def _recommended(self, part: str, evidence: Evidence) -> Iterator[Recommendation]:
        setting = self.setting.replace(ANY, part) if self.setting else None
        seen = dict(evidence.seen)
        current = evidence.get(f"setting.{setting}") if setting else None
        value = self.change.of(current)
        if setting is not None and (value is None or f"setting.{setting}={value}" in evidence):
            return  # nothing is left to change
        yield Recommendation(
            name=f"{self.name}-{part}" if part else self.name,
            type=self.type,
            description=self.description.replace(ANY, part),
            evidence=seen,
            expected=self.expected.replace(ANY, part),
            impact=self.impact,
            effort=self.effort,
            setting=setting,
            current=current,
            value=value,
            command=self.command,
            judged_by=self.judged_by.replace(ANY, part) if self.judged_by else None,
            safe=self.safe,
        )


@dataclass(frozen=True, slots=True)
class _OwnRule:
    """A rule of a program: it looks at figures as it likes."""

    condition: Callable[[Mapping[str, float]], bool]
    made: Recommendation
    priority: OptimizationPriority

    def recommendations(self, figures: Evidence) -> Iterator[Recommendation]:
        evidence = figures.afresh()
        if self.condition(evidence) and evidence.seen:  # without a figure it knows nothing
            seen = dict(evidence.seen)
            impact, effort = _WEIGHTS[self.priority]
            current = evidence.get(f"setting.{self.made.setting}") if self.made.setting else None
            yield replace(self.made, evidence=seen, impact=impact, effort=effort, current=current)


@dataclass(frozen=True, slots=True)
class OptimizationReport:
    """What is advised.

    Attributes:
        recommendations: the most worth its effort first.
        window: the time that the figures are about.
    """

    recommendations: Sequence[Recommendation]
    window: Window

    @property
    def implementation_plan(self) -> list[tuple[str, list[Recommendation]]]:
        """(title of the phase, what to do in it), without empty phases."""
        phases = [(title, [each for each in self.recommendations if each.phase == number])
                  for number, title in enumerate(PHASES, start=1)]  # fmt: skip
        return [(title, steps) for title, steps in phases if steps]

    def plain(self) -> dict[str, JsonValue]:
        """The report as JSON."""
        return {
            "window": self.window,
            "prioritized_recommendations": [each.plain() for each in self.recommendations],
            "implementation_plan": [
                {"phase": title, "steps": [{"name": each.name, "example": each.example} for each in steps]}
                for title, steps in self.implementation_plan
            ],
        }


@dataclass(slots=True)
class Optimizer:
    """Rules, and what they say of figures; it begins with those of the package."""

    _rules: list[Rule | _OwnRule] = field(default_factory=lambda: [*packaged_rules()])

    def add_optimization_rule(
        self,
        condition: Callable[[Mapping[str, float]], bool],
        *,
        description: str,
        opt_type: OptimizationType = OptimizationType.CACHE,
        priority: OptimizationPriority = OptimizationPriority.MEDIUM,
        estimated_improvement: float | None = None,
        change: tuple[str, float | str | bool] | None = None,
    ) -> None:
        """Add a rule that is asked beside those of the package.

        Args:
            condition: is given the figures by name (see `Evidence`); it uses `figures.get(name, otherwise)`, since what
                was not measured is not there. Where it finds none at all it is not believed.
            estimated_improvement: percent, as its author expects; said, never measured.
            change: a setting and its value, shown as an example.
        """
        expected = "not estimated" if estimated_improvement is None else f"about {estimated_improvement:g} % (estimate)"
        setting, value = change or (None, None)
        name = re.sub(r"[^a-z0-9]+", "-", description.casefold()).strip("-")
        made = Recommendation(
            name, opt_type, description, {}, expected, 1, 1, setting=setting, value=value,
            command=None if setting else description
        )  # fmt: skip
        self._rules.append(_OwnRule(condition, made, priority))

    def run_system_optimization(
        self, snapshot: Snapshot, *, further: Mapping[str, float] | None = None, window: Window = "24h"
    ) -> OptimizationReport:
        """What every rule says of a snapshot.

        Args:
            further: figures of settings and the machine; see `Evidence`.
            window: the time that the figures are about.
        """
        figures = Evidence(snapshot, further or {}, window=window)
        found = [each for rule in self._rules for each in rule.recommendations(figures)]
        found.sort(key=lambda each: (each.effort - each.impact, each.effort, each.name))
        return OptimizationReport(found, window)


def run_system_optimization(
    snapshot: Snapshot, *, further: Mapping[str, float] | None = None, window: Window = "24h"
) -> OptimizationReport:
    """What the rules of the package say of a snapshot; see `Optimizer.run_system_optimization`."""
    return Optimizer().run_system_optimization(snapshot, further=further, window=window)


def packaged_rules() -> list[Rule]:
    """The rules of advice.toml."""
    text = files("reasoning_bank.monitoring").joinpath("advice.toml").read_text(encoding="utf-8")
    return [Rule.model_validate(row) for row in tomllib.loads(text)["rule"]]


_WEIGHTS: Final[Mapping[OptimizationPriority, tuple[int, int]]] = {
    OptimizationPriority.HIGH: (3, 1),
    OptimizationPriority.MEDIUM: (2, 2),
    OptimizationPriority.LOW: (1, 2),
}
