"""What is known of the best candidates beyond their relevance, as a bounded change of their order.

Relevance comes first: the fused score is in standard deviations of the candidates, and each factor adds its weight
times its distance from "nothing known", never more. Where nothing is known the order stays exactly as it was.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Literal

from reasoning_bank.records import Counters, Memory, MemoryItem
from reasoning_bank.storage.timestamps import to_seconds
from reasoning_bank.text.analyser import words
from reasoning_bank.text.fields import event_moment

Factor = Literal["utility", "recency", "outcome", "error", "trust"]

PRIOR = 4.0
"""Verdicts of each kind imagined before the first real one: one rating is a hint, four count as much as the prior."""
IGNORED = 0.25
"""What "ignored" counts as a share of "misled": it cost tokens but did no harm, and may fit another task."""
TYPE_ALONE = 0.5
"""How far the same kind of error is the same error: half; its message says the rest."""
SAME_MESSAGE = 0.6
"""Share of a failure's words among the task's errors from which it counts as the same message."""
_FEWEST_WORDS = 3
_MESSAGE_READ = 400
_TASK_READ = 8_000
_DAY_S = 86_400.0
# Looked for in lower case; plain search is ten times faster than one expression of them all.
_TROUBLE = (
    *("error", "exception", "fail", "fault", "panic", "crash", "abort", "traceback", "refused", "denied", "timeout"),
    *("timed out", "time-out", "not found", "no such", "cannot", "can't", "could not", "unable", "invalid"),
    *("unexpected", "undefined", "失败", "错误"),
)
# Names that say that something went wrong, not what.
_SAYS_NOTHING = frozenset(
    {"error", "exception", "failure", "failed", "fatal", "panic", "critical", "killed", "aborted", "unresolved"}
    | {"assertionerror", "runtimeerror", "compile error", "test failure", "unknown"}
)


@dataclass(frozen=True, slots=True)
class Weights:
    """How many standard deviations each factor, 0..1, can move a memory; 0 leaves it out.

    Attributes:
        helped: what callers said in its favour; half of this up at most. Little, as "helped" also says that the task
            was the right one, and a memory that fits one task well must not press into all others.
        misled: what they said against it; half of this down at most.
        recency: how lately it happened; 0 because a lesson does not age.
        outcome: success before failure; 0 because lessons from failures help too (arXiv 2509.25140).
        error: a memory of the very error that the task speaks of: up by at most this.
        trust: a memory of low trust: down by this.
        trusted: one that helped in several independent tasks: up by this, which decides between near equals.
        half_life_days: age at which recency has fallen by half.
    """

    helped: float = 0.5
    misled: float = 2.0
    recency: float = 0.0
    outcome: float = 0.0
    error: float = 1.0
    trust: float = 0.5
    trusted: float = 0.25
    half_life_days: float = 30.0


WEIGHTS: Mapping[str, Weights] = {
    "default": Weights(),
    # .6 similarity + .3 recency over 30 days + .1 for an error; one standard deviation of a similarity is about .1.
    # For comparison: on a chat of half a year it loses a seventh of nDCG@10.
    "seed": Weights(helped=0.0, misled=0.0, recency=5.0, error=1.7, trust=0.0, trusted=0.0),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A memory that may be answered.

    Attributes:
        fused: what all strategies say together, in standard deviations of the candidates.
        relevance: absolute relevance, 0..1; nothing here changes it.
        adjustments: standard deviations that each factor added or took, without those that did nothing.
        error_match: how well it fits an error the task speaks of, 0..1.
    """

    memory: Memory
    fused: float
    relevance: float
    adjustments: Mapping[Factor, float] = field(default_factory=dict[Factor, float])
    error_match: float = 0.0

    @property
    def score(self) -> float:
        """What decides about its place: the fused score and all adjustments."""
        return self.fused + sum(self.adjustments.values())


def rescored(candidates: Sequence[Candidate], *, task: str, weights: Weights, now: datetime) -> list[Candidate]:
    """The candidates by relevance and what else is known of them, best first.

    Args:
        candidates: the best by fused score, best first; equal ones keep their order.
        task: the query, in which errors are looked for.
        weights: what each factor counts.
        now: for the age of memories, aware.
    """
    errors = TaskErrors(task)
    adjusted = [_adjusted(each, weights, error_match=errors.match(each.memory.item), now=now) for each in candidates]
    return sorted(adjusted, key=lambda each: -each.score)


def utility(counters: Counters) -> float:
    """How useful a memory proved, 0..1; .5 when nobody said.

    The mean of the Beta distribution that `PRIOR` imagined verdicts of either kind and the real ones leave of the
    share of uses that help: (helped + a) / (helped + misled + 2a) (Gelman et al., Bayesian Data Analysis, 2013, 2.4).
    """
    against = counters.misled + IGNORED * counters.ignored
    return (counters.helped + PRIOR) / (counters.helped + against + 2 * PRIOR)


def _adjusted(candidate: Candidate, weights: Weights, *, error_match: float, now: datetime) -> Candidate:
    memory = candidate.memory
    parts: dict[Factor, float] = {
        "utility": _usefulness(memory.counters, weights),
        "recency": weights.recency * (_recency(memory, weights.half_life_days, now) - 0.5) if weights.recency else 0.0,
        "outcome": weights.outcome * (_OUTCOMES[memory.item.outcome] - 0.5),
        "error": weights.error * error_match,
        "trust": {"low": -weights.trust, "trusted": weights.trusted}.get(memory.item.trust, 0.0),
    }
    adjustments: dict[Factor, float] = {factor: part for factor, part in parts.items() if part}
    if not adjustments and not error_match:
        return candidate
    return replace(candidate, adjustments=adjustments, error_match=error_match)


def _usefulness(counters: Counters, weights: Weights) -> float:
    above = utility(counters) - 0.5
    return above * (weights.helped if above > 0 else weights.misled)


_OUTCOMES = {"success": 1.0, "partial": 0.5, "unknown": 0.5, "failure": 0.0}


def _recency(memory: Memory, half_life_days: float, now: datetime) -> float:
    """1 for what happens now, half after each half-life; by when it happened, else by when it was stored."""
    moment = event_moment(memory.item.time) or memory.created_at
    age_days = max(0.0, to_seconds(now) - to_seconds(moment)) / _DAY_S
    return 0.5 ** (age_days / half_life_days)


class TaskErrors:
    """The errors a task speaks of: its lines that say that something went wrong."""

    def __init__(self, task: str) -> None:
        # The end of a long task is where a trace of an error stands.
        read = task if len(task) <= _TASK_READ else task[: _TASK_READ // 2] + "\n" + task[-_TASK_READ // 2 :]
        self._text = "\n".join(line for line in read.splitlines() if _speaks_of_trouble(line))

    @cached_property
    def _lowered(self) -> str:
        return self._text.lower()

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(words(self._text))

    def match(self, item: MemoryItem) -> float:
        """How well a memory's error is one of the task's, 0..1: by its name, or by the words of its message."""
        error = item.error_context
        if error is None or not self._text:
            return 0.0
        by_name = TYPE_ALONE if self._names(error.error_type) else 0.0
        return max(by_name, self._overlap(error.failure_pattern))

    def _names(self, error_type: str) -> bool:
        name = error_type.strip().rpartition(".")[2][:_MESSAGE_READ].lower()
        if len(name) <= _FEWEST_WORDS or name in _SAYS_NOTHING or name not in self._lowered:
            return False
        return bool(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", self._lowered))

    def _overlap(self, message: str) -> float:
        told = set(words(message[:_MESSAGE_READ]))
        if len(told) < _FEWEST_WORDS:
            return 0.0
        share = len(told & self._words) / len(told)
        return share if share >= SAME_MESSAGE else 0.0


def _speaks_of_trouble(line: str) -> bool:
    lowered = line.lower()
    return any(sign in lowered for sign in _TROUBLE)
