"""Whether a bank stays silent when it should: questions asked where nothing answers them, against what a floor costs.

An *injection* is an answer with any memory in it, to a question that another set, or another workspace, is about.
What is *kept* is the share of recall in the first three that a floor leaves. Whether a foreign question has no answer
is assumed, not labelled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reasoning_bank.evaluation.asking import Ask, Judged, Progress
from reasoning_bank.evaluation.sets import Asked, EvaluationSet

TOP = 3
"""An assistant reads so few; more would only find more to inject."""
FLOORS = tuple(step / 100 for step in range(101))
SAMPLE = 100
"""Questions asked per pair, evenly spaced: a rate of 3 % is then known to within 3 points."""
KEPT = 0.95


@dataclass(frozen=True, slots=True)
class Pair:
    """Questions of one set asked in another, or in other workspaces of their own set.

    Attributes:
        injected: share of them answered with something at the default floor.
        tops: highest relevance per question without a floor; empty where no curve was asked for.
    """

    questions_of: str
    asked_in: str
    queries: int
    injected: float
    tops: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One floor: what is kept of recall@3 (mean of the sets), what is injected (mean of the pairs between sets)."""

    floor: float
    kept: float
    injected: float
    kept_by_set: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Abstention:
    """How the default floor does, and other floors would.

    Attributes:
        kept: set -> share of recall@3 kept at the default floor; `kept_mean` over the sets.
        injected_mean: over pairs of different sets; None where there is only one set.
        curve: floors 0, .01 … 1; empty where it was not asked for.
        best: the highest floor of the curve that keeps 95 %.
    """

    kept: Mapping[str, float]
    kept_mean: float
    pairs: tuple[Pair, ...]
    injected_mean: float | None
    curve: tuple[CurvePoint, ...]
    best: CurvePoint | None


def foreign_pairs(
    ask: Ask, sets: Sequence[EvaluationSet], *, curve: bool, progress: Progress | None = None
) -> list[Pair]:
    """Ask questions of each set in every other, and in the other workspaces of its own.

    A set of several workspaces is asked in each of them in turn.
    """
    crossings = [(one, other) for one in sets for other in sets if one is not other or len(one.spaces) > 1]
    pairs: list[Pair] = []
    for number, (one, other) in enumerate(crossings, start=1):
        asked = one.limited(SAMPLE).queries
        injected = 0
        tops: list[float] = []
        for place, question in enumerate(asked):
            space = _elsewhere(question, other.spaces, place)
            injected += bool(ask(space, question.text, k=TOP).ids)
            if curve:
                scores = ask(space, question.text, k=TOP, min_score=0.0).scores
                tops.append(max(scores, default=0.0))
        pairs.append(Pair(one.name, other.name, len(asked), round(injected / len(asked), 4), tuple(tops)))
        if progress is not None:
            progress(number, len(crossings))
    return pairs


def abstention(judged: Mapping[str, Sequence[Judged]], pairs: Sequence[Pair]) -> Abstention:
    """Own questions against foreign ones, at the default floor and along the curve."""
    kept = {name: _kept_by_default(some) for name, some in judged.items()}
    between = [pair for pair in pairs if pair.questions_of != pair.asked_in]
    with_curve = any(pair.tops for pair in pairs)
    curve = tuple(_point(floor, judged, between or pairs) for floor in FLOORS) if with_curve else ()
    return Abstention(
        kept=kept,
        kept_mean=_mean(list(kept.values())),
        pairs=tuple(pairs),
        injected_mean=_mean([pair.injected for pair in between]) if between else None,
        curve=curve,
        best=next((point for point in reversed(curve) if point.kept >= KEPT), None),
    )


def injected_at(pair: Pair, floor: float) -> float:
    """Share of a pair's questions answered with something at a floor; needs a pair with a curve."""
    return round(sum(top >= floor for top in pair.tops) / len(pair.tops), 4)


def _point(floor: float, judged: Mapping[str, Sequence[Judged]], pairs: Sequence[Pair]) -> CurvePoint:
    kept = {name: _kept_at(some, floor) for name, some in judged.items()}
    return CurvePoint(
        floor=floor,
        kept=_mean(list(kept.values())),
        injected=_mean([injected_at(pair, floor) for pair in pairs]),
        kept_by_set=kept,
    )


def _kept_at(judged: Sequence[Judged], floor: float) -> float:
    without = sum(_recalled(one, one.ranking.ids[:TOP]) for one in judged)
    above = sum(_recalled(one, [id for id, score in _top(one) if score >= floor]) for one in judged)
    return round(above / without, 4) if without else 1.0


def _kept_by_default(judged: Sequence[Judged]) -> float:
    asked = [one for one in judged if one.default is not None]
    without = sum(_recalled(one, one.ranking.ids[:TOP]) for one in asked)
    above = sum(_recalled(one, one.default.ids[:TOP]) for one in asked if one.default is not None)
    return round(above / without, 4) if without else 1.0


def _top(one: Judged) -> list[tuple[str, float]]:
    return list(zip(one.ranking.ids, one.ranking.scores, strict=True))[:TOP]


def _recalled(one: Judged, ids: Sequence[str]) -> float:
    return len(one.asked.relevant.intersection(ids)) / len(one.asked.relevant)


def _elsewhere(question: Asked, spaces: Sequence[str], place: int) -> str:
    others = [space for space in spaces if space != question.space]
    return others[place % len(others)]


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0
