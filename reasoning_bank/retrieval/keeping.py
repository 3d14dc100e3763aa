"""What answers are given again from memory, and which are too large to be kept."""

import time
from collections.abc import Callable, Sequence

from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.records import Retrieval, RetrievedMemory
from reasoning_bank.retrieval.context import PREAMBLE, Detail, block_key, context_block

LONGEST_KEPT = 65_536
"""Characters of a block or an answer that is kept. Usual ones have 5,000; caches count entries, and a few hundred
answers of a hundred long memories each would take gigabytes."""


def kept_block(
    cache: MemoryCache[str],
    workspace: str,
    found: Sequence[RetrievedMemory],
    *,
    budget: int,
    count_tokens: Callable[[str], int],
    detail: Detail = "full",
    query: str = "",
) -> str:
    """`context_block`, made once for the same memories as they are now.

    Args:
        cache: formatted blocks by (workspace, what they hold, the tokenizer's count of a known text).
    """
    # In the first second tokens are estimated; what was cut by an estimate is not given once they are counted.
    key = (workspace, block_key(found, budget=budget, detail=detail, query=query), count_tokens(PREAMBLE))
    block = cache.get(key)
    if block is None:
        started = time.perf_counter()
        block = context_block(found, budget=budget, detail=detail, query=query, count_tokens=count_tokens)
        if len(block) <= LONGEST_KEPT:
            cache.put(key, block, cost_s=time.perf_counter() - started)
    return block


def is_small(answer: Retrieval) -> bool:
    """Whether an answer takes little enough memory to be kept: its context and all its memories say."""
    items = [each.memory.item for each in answer.memories]
    said = sum(len(item.text) + len(item.title) + len(item.description) + len(item.content) for item in items)
    return len(answer.context) + said <= LONGEST_KEPT
