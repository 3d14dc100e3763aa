"""The embedding model: texts in batches against one by one, and a model that is kept against one loaded each time."""

from collections.abc import Callable
from functools import partial
from typing import Final

from anyio.from_thread import start_blocking_portal

from reasoning_bank.embeddings.batching import BatchEmbeddingGenerator
from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.evaluation.bench.lessons import lesson
from reasoning_bank.evaluation.bench.rows import Measured, cpu_milliseconds, paired
from reasoning_bank.evaluation.bench.workbench import Workbench

TEXTS: Final = {8: 32, 30: 16, 170: 2}
"""Tokens per text -> texts of one round."""
BATCH_SIZE: Final = 32


def batches(tokens: int) -> Callable[[Workbench], Measured]:
    """What measures batches of texts of about so many tokens."""
    return partial(_batches, tokens)


def model_loading(bench: Workbench) -> Measured:
    """A model loaded for each text against one that is kept: time until there is a vector."""
    kept, text = bench.model(), _texts(bench.model(), 30, 1)

    def load() -> None:
        fresh = bench.new_embedder()
        fresh.load()
        fresh.encode(text, "query")

    return paired(
        lambda: cpu_milliseconds(load),
        lambda: cpu_milliseconds(lambda: kept.encode(text, "query"), times=10),
        rounds=bench.scale.few,
        unit="CPU ms",
    )


def _batches(tokens: int, bench: Workbench) -> Measured:
    embedder = bench.model()
    texts = _texts(embedder, tokens, TEXTS[tokens])

    def one_by_one() -> None:
        for text in texts:
            embedder.encode([text], "document")

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(BatchEmbeddingGenerator(embedder, BATCH_SIZE)) as generator,
    ):

        def batch() -> None:
            portal.call(generator.generate_batch, texts)

        batch()
        return paired(
            lambda: cpu_milliseconds(one_by_one) / len(texts),
            lambda: cpu_milliseconds(batch) / len(texts),
            rounds=bench.scale.rounds,
            unit="CPU ms",
            figures={"texts": len(texts), "tokens": tokens},
        )


def _texts(embedder: Embedder, tokens: int, count: int) -> list[str]:
    """Different texts of about so many tokens each, in the words of the lessons."""
    return [_cut(embedder, number, tokens) for number in range(count)]


def _cut(embedder: Embedder, number: int, tokens: int) -> str:
    # The number keeps texts apart: equal ones would be embedded once.
    words = [f"case {number}", *(word for more in range(number, number + 8) for word in lesson(more).content.split())]
    length = tokens  # a word takes one token at least
    while length > 1 and embedder.count_tokens([" ".join(words[:length])])[0] > tokens:
        length -= 1
    return " ".join(words[:length])
