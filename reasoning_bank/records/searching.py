"""A question to the bank and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from reasoning_bank.records.learning import JsonValue, Memory

Strategy = Literal["semantic", "keyword", "temporal", "entity"]
"""A way memories are found; one that could not take part is named as degraded."""
Stage = Literal[
    "semantic",
    "keyword",
    "temporal",
    "entity",
    "pairs",
    "length_prior",
    "code_share",
    "main_line",
    "links",
    "neighbour_vectors",
    "neighbours",
    "answers",
    "session",
    "places",
    "names",
    "telling",
    "scoring",
]
"""A part of the rule that can be left out, to measure what it adds; the four strategies are such parts too."""
Preset = Literal["default", "paper", "conversation"]


@dataclass(frozen=True, slots=True)
class Query:
    """One question to the bank.

    Attributes:
        min_score: absolute relevance floor in 0..1; None is the configured default, 0 switches it off.
        token_budget: tokens the `context` block may take; 0 means no context block limit.
        exclude_ids: memories already shown.
        preset: a set of choices for one kind of use; see `retrieval.presets`.
        group_by_trace: memories of one trace come together, at the place of the best of them.
        per_trace, per_actor: most memories of one trace or actor; None for no limit beyond that on low trust.
        near_duplicates: likeness (0..1) from which the later of two memories is left out; None keeps both.
        detail: what the context block says of each memory: one line, or all that fits.
        explain: also answer why each memory was chosen or dropped.
    """

    task: str
    k: int = 3
    tags: tuple[str, ...] = ()
    domain: str | None = None
    outcome: Literal["any", "success", "failure"] = "any"
    since: datetime | None = None
    until: datetime | None = None
    min_score: float | None = None
    include_failures: bool = True
    token_budget: int = 800
    exclude_ids: tuple[str, ...] = ()
    preset: Preset = "default"
    group_by_trace: bool = False
    per_trace: int | None = None
    per_actor: int | None = None
    near_duplicates: float | None = None
    detail: Literal["index", "full"] = "full"
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """An id with a score; higher is better."""

    id: str
    score: float


@dataclass(frozen=True, slots=True)
class RetrievedMemory:
    """A memory chosen for a query.

    Attributes:
        score: absolute relevance, a probability-like 0..1 that means the same on every bank.
        warning: where the memory is a failure lesson, or others say the opposite; else None.
    """

    memory: Memory
    score: float
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How one strategy saw a memory: its place among all candidates, from 1, and its score in its own unit."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Considered:
    """One memory a search looked at closely.

    Attributes:
        decision: why it was chosen or dropped, in words.
        fused: what all strategies say together, in standard deviations of the candidates; -inf never occurs.
        relevance: absolute, 0..1.
        standings: each strategy that found it.
        adjustments: what ratings, age, trust and the like added to `fused`, in the same unit.
    """

    id: str
    decision: str
    fused: float
    relevance: float
    standings: Mapping[Strategy, Standing]
    adjustments: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a search answered what it did.

    Attributes:
        intent: what the query was read as.
        plan: path, strategies that ran, those that did not and why, candidates, weights.
        considered: the memories looked at closely, best first.
    """

    intent: Mapping[str, JsonValue]
    plan: Mapping[str, JsonValue]
    considered: tuple[Considered, ...]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The answer to a query, best first.

    Attributes:
        context: a block ready to read, within the query's token budget; empty when nothing is relevant.
        below_floor: how many of the k best were dropped because their relevance was below the floor.
        degraded: strategies that should have taken part and could not.
        path: how the vectors were searched: "exact", "chroma", or "none".
        timings_ms: stage name to milliseconds; stages may run at once, so they add up to more than `total`.
        contributors: for each memory, the strategies that had it among their own best.
        explanation: only where it was asked for.
        cached: whether an earlier answer was given again, because nothing had changed.
    """

    memories: tuple[RetrievedMemory, ...]
    context: str
    below_floor: int
    degraded: tuple[Strategy, ...]
    path: Literal["exact", "chroma", "none"]
    timings_ms: Mapping[str, float]
    contributors: tuple[tuple[Strategy, ...], ...] = ()
    explanation: Explanation | None = None
    cached: bool = False


@dataclass(frozen=True, slots=True)
class RetrievalEverywhere:
    """The answer of several workspaces, each searched by itself.

    Attributes:
        memories: the k most relevant of all, best first; `memory.workspace` says where each is from.
        answers: what each workspace answered alone, by its name.
    """

    memories: tuple[RetrievedMemory, ...]
    answers: Mapping[str, Retrieval]
