"""The meaning of a query as a vector, or the honest news that no model could tell in time."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reasoning_bank.cache.named import Cache
from reasoning_bank.embeddings.switch import RunningModel
from reasoning_bank.errors import BusyError, ModelUnavailableError, UpstreamError
from reasoning_bank.retrieval.postings import FloatArray
from reasoning_bank.retrieval.workspaces import VectorSpace
from reasoning_bank.text.analyser import main_line


@dataclass(frozen=True, slots=True)
class QueryModel:
    """The model that turns queries into vectors comparable with the stored ones.

    Attributes:
        space: whose vectors it can be compared with.
        wait_ready: waits up to so many seconds for a model that is being loaded; whether it can be used.
        embed: (n, dim) float32 unit rows of n texts; raises ModelUnavailableError, UpstreamError or BusyError.
    """

    space: VectorSpace
    wait_ready: Callable[[float], Awaitable[bool]]
    embed: Callable[[Sequence[str]], Awaitable[FloatArray]]


def query_model(running: RunningModel | None) -> QueryModel | None:
    """A running model as searches use it; None where there is none, or only loading will tell which it is."""
    if running is None or (identity := running.identity) is None:
        return None
    return QueryModel(VectorSpace(identity.model_id, identity.dim), running.wait_ready, running.embed_queries)


async def query_vector(
    model: QueryModel | None,
    task: str,
    *,
    workspace: str,
    cache: Cache[FloatArray],
    longest_wait_s: float,
    whole: bool = False,
) -> FloatArray | None:
    """(dim,) the mean of the whole task and of its main line, or None when the model cannot tell now.

    Args:
        model: the model in use, None when there is none.
        task: the query.
        workspace: who asks: vectors are cached for them only.
        cache: query vectors by (model, task) of a workspace.
        longest_wait_s: seconds to wait for a model that is being loaded.
        whole: leave the main line out; an engine that does so always does, so vectors of both kinds never mix.
    """
    if model is None:
        return None
    key = (model.space.model_id, task)
    if (known := await cache.get(key, namespace=workspace)) is not None:
        return known
    if not await model.wait_ready(longest_wait_s):
        return None
    started = time.perf_counter()
    try:
        rows = await model.embed(list(dict.fromkeys((task, task if whole else main_line(task) or task))))
    except (ModelUnavailableError, UpstreamError, BusyError):
        return None
    # The first line says what a long task is about, the rest says in which setting: half and half.
    vector: FloatArray = np.asarray(rows.mean(axis=0), np.float32)
    await cache.set(key, vector, namespace=workspace, cost_s=time.perf_counter() - started)
    return vector
