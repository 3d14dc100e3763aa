"""The retriever, from the settings."""

from collections.abc import Callable
from dataclasses import replace
from zoneinfo import ZoneInfo

from reasoning_bank.embeddings.switch import ModelSwitch
from reasoning_bank.opening.clockwork import Clockwork
from reasoning_bank.retrieval.meaning import query_model
from reasoning_bank.retrieval.options import RetrievalCaches, RetrievalOptions
from reasoning_bank.retrieval.retriever import Retriever
from reasoning_bank.retrieval.scoring import WEIGHTS, Weights
from reasoning_bank.settings import Settings
from reasoning_bank.storage.database import Database
from reasoning_bank.vectors.chroma import ChromaDBAdapter


def retriever_of(
    settings: Settings,
    database: Database,
    models: ModelSwitch,
    caches: RetrievalCaches,
    count_tokens: Callable[[str], int],
    index: ChromaDBAdapter | None,
    clock: Clockwork,
) -> Retriever:
    """The retriever with the options of the settings; `index` is None where none is wanted."""
    return Retriever(
        database=database,
        model=lambda: query_model(models.serving),
        caches=caches,
        count_tokens=count_tokens,
        now=clock.now,
        index=index,
        options=RetrievalOptions(
            search=settings.vectors.search,
            exact_limit=settings.vectors.exact_limit,
            floor=settings.retrieval.floor,
            model_wait_s=settings.embeddings.query_wait_ms / 1000,
            deadline_s=settings.retrieval.deadline_ms / 1000,
            zone=ZoneInfo(settings.retrieval.time_zone),
            weights=scoring_weights(settings),
            without=frozenset(settings.retrieval.without),
            workspaces=settings.cache.workspaces,
        ),
    )


def scoring_weights(settings: Settings) -> Weights:
    """What ratings, age, errors and trust count in a search, as the settings say."""
    chosen = settings.retrieval
    weights = replace(WEIGHTS[chosen.scoring], half_life_days=chosen.half_life_days)
    return weights if chosen.recency is None else replace(weights, recency=chosen.recency)
