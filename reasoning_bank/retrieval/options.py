"""What a user can choose about searches, and what is kept between them."""

from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.cache.named import Cache
from reasoning_bank.records import Memory, Retrieval, Stage
from reasoning_bank.retrieval.intent import Intent
from reasoning_bank.retrieval.planner import EXACT_LIMIT, Search
from reasoning_bank.retrieval.postings import FloatArray
from reasoning_bank.retrieval.scoring import Weights


@dataclass(frozen=True, slots=True)
class RetrievalCaches:
    """What is kept between searches; the workspace is the first element of every key.

    Attributes:
        memories: read memories by (workspace, id).
        queries: query vectors by (model, task).
        intents: what queries were read as, by (workspace, task).
        contexts: formatted blocks by what they hold.
        retrieval: whole answers by (last change of the workspace, model, query).
    """

    memories: MemoryCache[Memory]
    queries: Cache[FloatArray]
    intents: MemoryCache[Intent]
    contexts: MemoryCache[str]
    retrieval: Cache[Retrieval]


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """What a user can choose.

    Attributes:
        search: which way vectors are searched.
        exact_limit: memories up to which "auto" compares all.
        floor: least relevance given when a query names none, 0..1.
        model_wait_s: seconds a query waits for a model that is being loaded.
        deadline_s: seconds a strategy may take.
        zone: in which "yesterday" is meant.
        weights: what ratings, age, trust and the like count.
        without: parts of the rule that are left out.
        workspaces: workspaces whose index is kept in memory.
    """

    search: Search = "auto"
    exact_limit: int = EXACT_LIMIT
    floor: float = 0.5
    model_wait_s: float = 0.3
    deadline_s: float = 2.0
    zone: tzinfo = UTC
    weights: Weights = field(default_factory=Weights)
    without: frozenset[Stage] = frozenset()
    workspaces: int = 64
