"""A whole evaluation: what was measured, by whichever way to ask is passed in, ready to be written as JSON."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from reasoning_bank.evaluation.abstention import FLOORS, Abstention, abstention, foreign_pairs, injected_at
from reasoning_bank.evaluation.asking import Ask, Judged, Progress, SetFigures, judge, summarise
from reasoning_bank.evaluation.compressing import CompressionFigures
from reasoning_bank.evaluation.metrics import DEPTHS, Interval, differences
from reasoning_bank.evaluation.sets import EvaluationSet
from reasoning_bank.records import JsonValue, Stage

STAGES: tuple[Stage, ...] = get_args(Stage)
"""Each can be left out of a search; what is decided when a row is stored (who and when before its text, the vector of
its content) would need another bank, and is not among them."""

PAIR_FLOORS = FLOORS[::5]
"""Floors at which the JSON has each pair's rate."""

Connect = Callable[[Sequence[Stage]], AbstractContextManager[Ask]]
"""Opens the bank without some stages of its rule, ready to be asked."""
Bar = Callable[[str], AbstractContextManager[Progress]]
"""A progress bar with a label."""


@dataclass(slots=True)
class Report:
    """What was measured.

    Attributes:
        setup: what a reader needs to judge the figures.
        sets: figures by set.
        baselines: set -> baseline -> figures.
        ablation: stage left out -> set -> change of each figure, paired by question.
        compression: figures by set.
    """

    setup: Mapping[str, JsonValue]
    sets: dict[str, SetFigures] = field(default_factory=dict[str, SetFigures])
    baselines: dict[str, dict[str, Mapping[str, Interval]]] = field(
        default_factory=dict[str, dict[str, Mapping[str, Interval]]]
    )
    ablation: dict[Stage, dict[str, Mapping[str, Interval]]] = field(
        default_factory=dict[Stage, dict[str, Mapping[str, Interval]]]
    )
    abstention: Abstention | None = None
    compression: dict[str, CompressionFigures] = field(default_factory=dict[str, CompressionFigures])

    def as_json(self) -> dict[str, JsonValue]:
        """The report as JSON values; a pair of sets has its rate at each floor instead of every question's score."""
        report: dict[str, Any] = asdict(self)
        if self.abstention is not None:
            report["abstention"]["pairs"] = [
                {
                    "questions_of": pair.questions_of,
                    "asked_in": pair.asked_in,
                    "queries": pair.queries,
                    "injected": pair.injected,
                    "injected_at": {f"{floor:.2f}": injected_at(pair, floor) for floor in PAIR_FLOORS if pair.tops},
                }
                for pair in self.abstention.pairs
            ]
        return report


@dataclass(frozen=True, slots=True)
class Measures:
    """What to measure of the sets.

    Attributes:
        depths: of recall; the deepest is how many memories are asked for.
        curve: what every floor would let through, not only the default one.
        ablated: stages to leave out in turn.
    """

    depths: Sequence[int] = DEPTHS
    curve: bool = False
    ablated: Sequence[Stage] = ()


def measure_sets(
    report: Report, sets: Sequence[EvaluationSet], connect: Connect, *, measures: Measures, bar: Bar
) -> None:
    """Ask every question of the sets, and write the figures into the report."""
    judged: dict[str, list[Judged]] = {}
    with connect(()) as ask:
        for data in sets:
            with bar(f"asking {data.name}") as move:
                judged[data.name] = judge(ask, data, depths=measures.depths, progress=move)
            report.sets[data.name] = summarise(data, judged[data.name])
        with bar("asking what has no answer") as move:
            pairs = foreign_pairs(ask, sets, curve=measures.curve, progress=move)
        report.abstention = abstention(judged, pairs)
    for stage in measures.ablated:
        report.ablation[stage] = _without(stage, sets, connect, judged=judged, measures=measures, bar=bar)


def _without(
    stage: Stage,
    sets: Sequence[EvaluationSet],
    connect: Connect,
    *,
    judged: Mapping[str, Sequence[Judged]],
    measures: Measures,
    bar: Bar,
) -> dict[str, Mapping[str, Interval]]:
    changes: dict[str, Mapping[str, Interval]] = {}
    with connect((stage,)) as ask:
        for data in sets:
            with bar(f"asking {data.name} without {stage}") as move:
                again = judge(ask, data, depths=measures.depths, with_default=False, progress=move)
            before = [one.figures for one in judged[data.name]]
            changes[data.name] = differences(before, [one.figures for one in again])
    return changes
