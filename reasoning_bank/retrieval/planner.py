"""How a search is done, decided from cheap statistics: which strategies run, and which way vectors are searched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from reasoning_bank.records import JsonValue, Stage, Strategy

Search = Literal["auto", "chroma", "exact"]
Path = Literal["exact", "chroma", "none"]

EXACT_LIMIT = 50_000
"""Candidates up to which comparing all is faster than asking an index and scoring what it names."""
LEAST_CANDIDATES = 200
"""Neighbours an index is asked for: what fusion, floors and forgotten items take away must still leave enough."""
STRATEGIES: tuple[Strategy, ...] = ("semantic", "keyword", "temporal", "entity")


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known before the first strategy runs.

    Attributes:
        memories: live memories of the workspace.
        candidates: those that pass every filter.
        filtered: whether anything but the workspace limits the candidates.
        has_vectors: whether any memory can be compared by meaning.
        has_model: whether queries can be.
        knows_words: whether any word of the query may occur.
        knows_names: whether any identifier of the query may occur.
        names_times: whether the query names a time, or asks for one.
        named: candidates that hold the one identifier the query consists of; 0 for any other query.
    """

    memories: int
    candidates: int
    filtered: bool = False
    has_vectors: bool = True
    has_model: bool = True
    knows_words: bool = True
    knows_names: bool = True
    names_times: bool = False
    named: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a search is done.

    Attributes:
        path: how vectors are searched.
        skipped: strategies that do not run, and why; the others do.
    """

    path: Path
    candidates: int
    skipped: Mapping[Strategy, str] = field(default_factory=dict[Strategy, str])

    def runs(self, strategy: Strategy) -> bool:
        """Whether a strategy takes part."""
        return strategy not in self.skipped

    def without(self, missing: Sequence[Strategy]) -> "Plan":
        """The plan as it came out where some strategies could not take part."""
        return replace(self, skipped={**self.skipped, **dict.fromkeys(missing, "failed, or not ready in time")})

    def as_json(self) -> dict[str, JsonValue]:
        """The plan for an explanation."""
        running: list[JsonValue] = [each for each in STRATEGIES if self.runs(each)]
        return {
            "path": self.path,
            "candidates": self.candidates,
            "strategies": running,
            "skipped": {str(name): reason for name, reason in self.skipped.items()},
        }


def plan(
    situation: Situation,
    *,
    places: int,
    search: Search = "auto",
    exact_limit: int = EXACT_LIMIT,
    without: frozenset[Stage] = frozenset(),
) -> Plan:
    """The cheapest way to the same answer.

    Args:
        situation: what is known of bank and query.
        places: memories wanted, and those excluded.
        search: the user's setting.
        exact_limit: above so many memories "auto" asks the index.
        without: strategies the user left out.
    """
    skipped: dict[Strategy, str] = {}
    for strategy in STRATEGIES:
        reason = "left out by setting" if strategy in without else _needless(strategy, situation, places)
        if reason:
            skipped[strategy] = reason
    path: Path = "none"
    if "semantic" not in skipped and situation.has_model and situation.has_vectors:
        asks = asks_index(search, filtered=situation.filtered, memories=situation.memories, exact_limit=exact_limit)
        path = "chroma" if asks else "exact"
    return Plan(path, situation.candidates, skipped)


def asks_index(search: Search, *, filtered: bool, memories: int, exact_limit: int = EXACT_LIMIT) -> bool:
    """Whether the index should name candidates.

    Filtered searches never ask: an index of 100,000 took 53 ms for a filter that a mask answers in 0.1 ms.

    Args:
        search: the user's setting; "chroma" asks whatever the size, so that the chosen store can be seen at work.
        filtered: whether anything but the workspace limits the candidates.
        memories: how many the workspace has.
        exact_limit: above so many memories "auto" asks.
    """
    if search == "exact" or filtered:
        return False
    return search == "chroma" or memories > exact_limit


def candidates_wanted(k: int) -> int:
    """How many neighbours to ask an index for."""
    return max(LEAST_CANDIDATES, 4 * k)


def _needless(strategy: Strategy, situation: Situation, places: int) -> str:
    """Why a strategy could not change the answer; "" when it could."""
    if not situation.candidates:
        return "no memory passes the filters"
    match strategy:
        case "keyword":
            return "" if situation.knows_words else "no memory holds a word of the query"
        case "entity":
            return "" if situation.knows_names else "no memory holds an identifier of the query"
        case "temporal":
            return "" if situation.names_times else "the query names no time and asks for none"
        case "semantic":
            # Whoever asks for a name wants what bears it, and a model that never saw the name can only guess.
            return f"{situation.named} memories hold the name asked for" if situation.named >= places else ""
