import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from reasoning_bank.embeddings.batching import BatchEmbeddingGenerator
from reasoning_bank.embeddings.embedder import BatchLimits, Embedder, Kind, Vectors
from reasoning_bank.embeddings.hashing import HashingEmbedder
from reasoning_bank.errors import BusyError, ModelUnavailableError, UpstreamError

from .conftest import GatedEmbedder, until


def closed(embedder: GatedEmbedder) -> GatedEmbedder:
    """Makes the next run wait at the gate."""
    embedder.gate.clear()
    embedder.entered.clear()
    return embedder


async def test_vectors_come_in_the_order_of_the_texts(gated: GatedEmbedder) -> None:
    texts = ["a much longer text than the others are", "b", "c c", "b"]
    async with BatchEmbeddingGenerator(gated) as generator:
        vectors = await generator.generate_batch(texts)
    np.testing.assert_allclose(vectors, HashingEmbedder(16).encode(texts, "document"), atol=1e-6)


async def test_no_texts_make_no_rows_and_no_run(gated: GatedEmbedder) -> None:
    async with BatchEmbeddingGenerator(gated) as generator:
        assert (await generator.generate_batch([])).shape == (0, 16)
    assert gated.runs == []


async def test_duplicates_are_run_once(gated: GatedEmbedder) -> None:
    async with BatchEmbeddingGenerator(gated) as generator:
        await generator.generate_batch(["same"] * 50 + ["other"])
        statistics = generator.statistics()
    assert sorted(text for run in gated.runs for text in run) == ["other", "same"]
    assert (statistics.texts, statistics.deduplicated, statistics.embedded) == (51, 49, 2)


async def test_equal_texts_of_concurrent_callers_are_run_once(gated: GatedEmbedder) -> None:
    closed(gated)
    async with BatchEmbeddingGenerator(gated) as generator:
        calls = [asyncio.create_task(generator.generate_batch(["same", f"own {n}"])) for n in range(4)]
        await until(gated.entered.is_set)
        gated.gate.set()
        answers = await asyncio.gather(*calls)
        statistics = generator.statistics()
    assert sum(run.count("same") for run in gated.runs) == 1
    assert all(np.array_equal(answers[0][0], answer[0]) for answer in answers)
    assert statistics.deduplicated == 3


async def test_concurrent_requests_share_runs(gated: GatedEmbedder) -> None:
    closed(gated)
    async with BatchEmbeddingGenerator(gated) as generator:
        first = asyncio.create_task(generator.generate_batch(["first"]))
        await until(gated.entered.is_set)
        rest = [asyncio.create_task(generator.generate_batch([f"text {n}"])) for n in range(8)]
        await until(lambda: generator.statistics().waiting == 9)
        gated.gate.set()
        await asyncio.gather(first, *rest)
    assert [len(run) for run in gated.runs] == [1, 8]


@pytest.mark.parametrize(
    ("limits", "batch_size", "max_batch_tokens", "largest"),
    [
        (BatchLimits(8, 2_048, 64), 32, None, 8),
        (BatchLimits(64, 2_048, 64), 5, None, 5),
        (BatchLimits(64, 12, 64), 32, None, 4),
        (BatchLimits(64, 2_048, 64), 32, 9, 3),
        (BatchLimits(64, 2_048, 2), 32, None, 1),
    ],
)
async def test_runs_stay_within_texts_and_tokens(
    limits: BatchLimits, batch_size: int, max_batch_tokens: int | None, largest: int
) -> None:
    """Texts of three tokens each."""
    embedder = GatedEmbedder(limits=limits)
    async with BatchEmbeddingGenerator(embedder, batch_size, max_batch_tokens=max_batch_tokens) as generator:
        await generator.generate_batch([f"number {n:03} text" for n in range(70)])
        statistics = generator.statistics()
    assert statistics.largest_batch == largest
    assert sorted(text for run in embedder.runs for text in run) == [f"number {n:03} text" for n in range(70)]


async def test_long_texts_run_alone_and_short_ones_with_their_like() -> None:
    embedder = GatedEmbedder(limits=BatchLimits(8, 2_048, 20))
    texts = [f"{n} " + "word " * length for n, length in enumerate([100, 3, 90, 3, 3, 100, 18])]
    async with BatchEmbeddingGenerator(embedder) as generator:
        await generator.generate_batch(texts)
    assert [[len(text.split()) for text in run] for run in embedder.runs] == [[4, 4, 4, 19], [91], [101], [101]]


async def test_queries_go_first_then_documents_then_background(gated: GatedEmbedder) -> None:
    closed(gated)
    async with BatchEmbeddingGenerator(gated, batch_size=2) as generator:
        running = asyncio.create_task(generator.generate_batch(["running"], background=True))
        await until(gated.entered.is_set)
        calls = [
            asyncio.create_task(generator.generate_batch(["background 1", "background 2"], background=True)),
            asyncio.create_task(generator.generate_batch(["document 1", "document 2"])),
            asyncio.create_task(generator.generate_batch(["query"], kind="query")),
        ]
        await until(lambda: generator.statistics().waiting == 6)
        gated.gate.set()
        await asyncio.gather(running, *calls)
    assert [run[0].split()[0] for run in gated.runs] == ["running", "query", "document", "background"]


async def test_search_waits_for_one_micro_batch_of_background_work_at_most() -> None:
    embedder = closed(GatedEmbedder(limits=BatchLimits(4, 2_048, 64)))
    async with BatchEmbeddingGenerator(embedder) as generator:
        work = asyncio.create_task(generator.generate_batch([f"text {n:04}" for n in range(2_000)], background=True))
        await until(embedder.entered.is_set)
        query = asyncio.create_task(generator.generate_batch(["query"], kind="query"))
        await until(lambda: generator.statistics().waiting == 1_025)
        embedder.gate.set()
        await query
        assert embedder.runs.index(["query"]) == 1
        work.cancel()
        await asyncio.wait({work})


async def test_text_that_becomes_urgent_moves_forward(gated: GatedEmbedder) -> None:
    closed(gated)
    async with BatchEmbeddingGenerator(gated, batch_size=1) as generator:
        running = asyncio.create_task(generator.generate_batch(["running"]))
        await until(gated.entered.is_set)
        slow = asyncio.create_task(generator.generate_batch(["a", "bb", "ccc"], background=True))
        await until(lambda: generator.statistics().waiting == 4)
        urgent = asyncio.create_task(generator.generate_batch(["ccc"]))
        await asyncio.sleep(0)
        gated.gate.set()
        await asyncio.gather(running, slow, urgent)
    assert gated.runs == [["running"], ["ccc"], ["a"], ["bb"]]


async def test_cancelled_callers_texts_are_not_run_unless_another_wants_them(gated: GatedEmbedder) -> None:
    closed(gated)
    async with BatchEmbeddingGenerator(gated, batch_size=1) as generator:
        running = asyncio.create_task(generator.generate_batch(["running"]))
        await until(gated.entered.is_set)
        leaving = asyncio.create_task(generator.generate_batch(["only mine", "shared"]))
        staying = asyncio.create_task(generator.generate_batch(["shared"]))
        await until(lambda: generator.statistics().waiting == 3)
        leaving.cancel()
        await asyncio.wait({leaving})
        assert generator.statistics().waiting == 2
        gated.gate.set()
        await asyncio.gather(running, staying)
    assert gated.runs == [["running"], ["shared"]]


async def test_failed_run_reaches_everyone_who_waits_for_it_and_nobody_else(gated: GatedEmbedder) -> None:
    closed(gated)
    gated.error = UpstreamError("the server is down", retry_after_s=3)
    async with BatchEmbeddingGenerator(gated) as generator:
        calls = [asyncio.create_task(generator.generate_batch(["same"])) for _ in range(2)]
        await until(gated.entered.is_set)
        gated.gate.set()
        for call in calls:
            with pytest.raises(UpstreamError, match="the server is down"):
                await call
        gated.error = None
        assert (await generator.generate_batch(["same"])).shape == (1, 16)


async def test_bug_in_a_backend_is_not_swallowed(gated: GatedEmbedder) -> None:
    gated.error = KeyError("bug")
    async with BatchEmbeddingGenerator(gated) as generator:
        with pytest.raises(KeyError, match="bug"):
            await generator.generate_batch(["text"])


async def test_one_thread_at_a_time_uses_the_model() -> None:
    inside = threading.Semaphore(1)

    class Watchful(GatedEmbedder):
        def encode(self, texts: Sequence[str], kind: Kind) -> Vectors:
            assert inside.acquire(blocking=False), "two threads in the model"
            try:
                return super().encode(texts, kind)
            finally:
                inside.release()

    async with BatchEmbeddingGenerator(Watchful(), batch_size=2) as generator:
        await asyncio.gather(*(generator.generate_batch([f"{n} {m}" for m in range(9)]) for n in range(9)))


async def test_progress_counts_distinct_texts(gated: GatedEmbedder) -> None:
    seen: list[tuple[int, int]] = []
    async with BatchEmbeddingGenerator(gated) as generator:
        await generator.generate_batch(["a", "b", "a", "c"], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


async def test_window_collects_documents_but_never_delays_a_query(gated: GatedEmbedder) -> None:
    async with BatchEmbeddingGenerator(gated, window_ms=30) as generator:
        calls = [asyncio.create_task(generator.generate_batch(["first"]))]
        await asyncio.sleep(0.001)
        calls.append(asyncio.create_task(generator.generate_batch(["second"])))
        await asyncio.gather(*calls)
    assert gated.runs == [["first", "second"]]


async def test_generator_that_is_not_running_says_so(gated: GatedEmbedder) -> None:
    generator = BatchEmbeddingGenerator(gated)
    with pytest.raises(ModelUnavailableError, match="not running"):
        await generator.generate_batch(["text"])


async def test_leaving_ends_every_wait(gated: GatedEmbedder) -> None:
    closed(gated)
    async with BatchEmbeddingGenerator(gated, batch_size=1) as generator:
        calls = [asyncio.create_task(generator.generate_batch([f"text {n}"])) for n in range(3)]
        await until(gated.entered.is_set)
        gated.gate.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, np.ndarray | ModelUnavailableError) for outcome in outcomes)
    assert len(gated.runs) <= 2, "what was waiting is not run any more"


async def test_too_many_waiting_texts_are_refused(gated: GatedEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasoning_bank.embeddings.batching._MOST_WAITING", 10)
    async with BatchEmbeddingGenerator(gated) as generator:
        with pytest.raises(BusyError, match="waiting for the embedding model"):
            await generator.generate_batch([f"text {n}" for n in range(11)])


def test_batch_size_below_one_is_refused(gated: GatedEmbedder) -> None:
    with pytest.raises(ValueError, match="batch_size must be 1 or more, not 0"):
        BatchEmbeddingGenerator(gated, 0)


async def test_model_gives_the_same_vectors_batched_and_alone(minilm: Embedder) -> None:
    texts = [f"lesson {n}: " + "check the lock before writing " * (n % 7) for n in range(20)]
    async with BatchEmbeddingGenerator(minilm) as generator:
        batched = await generator.generate_batch(texts)
        assert generator.statistics().largest_batch > 1
    alone = np.vstack([minilm.encode([text], "document") for text in texts])
    assert np.abs(batched - alone).max() < 1e-6
