"""Many callers, one model: texts are deduplicated, batched by length and run one batch at a time, queries first."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread
import numpy as np

from reasoning_bank.embeddings.embedder import BatchLimits, Embedder, Kind, Vectors
from reasoning_bank.embeddings.waiting import Job, Lane, WaitingTexts, choose
from reasoning_bank.errors import BusyError, ModelUnavailableError
from reasoning_bank.monitoring.observing import Observe, unobserved

# Texts of one call that wait at the same time: enough to sort by length, few enough to forget quickly.
_SLICE = 1_024
_MOST_WAITING = 65_536


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """What the generator did since it was made.

    Attributes:
        texts: texts asked for, duplicates included.
        deduplicated: of those, answered by the run of an equal text.
        embedded: texts the model ran on.
        batches: runs of the model.
        largest_batch: most texts in one run.
        waiting: texts waiting or running now.
        seconds: time spent in the model.
    """

    texts: int = 0
    deduplicated: int = 0
    embedded: int = 0
    batches: int = 0
    largest_batch: int = 0
    waiting: int = 0
    seconds: float = 0.0


class BatchEmbeddingGenerator:
    """Runs an embedder for any number of concurrent callers; `async with` starts and stops its worker.

    Waiting texts are run in micro-batches of similar length: queries before documents, documents before background
    work, so that a search waits for one micro-batch at most. Equal texts that wait at the same time are run once.
    A cancelled caller's texts are dropped unless another caller waits for them too.

    Args:
        embedder: the model; one thread at a time calls it.
        batch_size: most texts per run; the embedder's own limits may be lower, because on a CPU long texts are
            faster one by one.
        max_batch_tokens: most tokens per run after padding; None is the embedder's own limit.
        window_ms: how long to wait for more documents before a run (milliseconds); 0 takes only what is waiting.
        observe: is told what each run of the model took, as "embedding.batch".
        timer: seconds from any start.
    """

    def __init__(
        self,
        embedder: Embedder,
        batch_size: int = 32,
        *,
        max_batch_tokens: int | None = None,
        window_ms: float = 0.0,
        observe: Observe = unobserved,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, not {batch_size!r}")
        self.embedder = embedder
        self._batch_size = batch_size
        self._max_batch_tokens = max_batch_tokens
        self._window_s = window_ms / 1000
        self._observe = observe
        self._timer = timer
        self._waiting = WaitingTexts()
        self._work = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._one_thread = anyio.CapacityLimiter(1)
        self._statistics = BatchStatistics()

    async def __aenter__(self) -> Self:
        self._worker = asyncio.create_task(self._run_batches(), name="embedding batches")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.wait({worker})
        self._waiting.fail_all(ModelUnavailableError("embedding has stopped"))

    async def generate_batch(
        self,
        texts: Sequence[str],
        *,
        kind: Kind = "document",
        background: bool = False,
        progress: Callable[[int, int], object] | None = None,
    ) -> Vectors:
        """Returns (n, dim) float32 unit rows in the order of the texts.

        Args:
            texts: any number, of any length; what exceeds the model's window is not read.
            kind: some models treat queries and documents differently.
            background: give way to every other caller between micro-batches.
            progress: called after each text with the distinct texts done and their number.

        Raises:
            ModelUnavailableError: the model is not loaded, or the generator is not running.
            UpstreamError: a remote model failed.
            BusyError: too many texts are waiting.
        """
        if not texts:
            return np.empty((0, self.embedder.identity.dim), np.float32)
        distinct = sorted(dict.fromkeys(texts), key=len)
        self._count(texts=len(texts), deduplicated=len(texts) - len(distinct))
        lane = Lane.BACKGROUND if background else Lane.QUERY if kind == "query" else Lane.FOREGROUND
        report = _reporter(progress, len(distinct))
        vectors: dict[str, Vectors] = {}
        for start in range(0, len(distinct), _SLICE):
            vectors |= await self._embed(distinct[start : start + _SLICE], kind, lane, report)
        return np.stack([vectors[text] for text in texts])

    def statistics(self) -> BatchStatistics:
        """What happened so far."""
        return replace(self._statistics, waiting=len(self._waiting))

    async def _embed(
        self, texts: Sequence[str], kind: Kind, lane: Lane, report: Callable[[object], None]
    ) -> dict[str, Vectors]:
        if self._worker is None:
            raise ModelUnavailableError("embedding is not running")
        if len(self._waiting) + len(texts) > _MOST_WAITING:
            raise BusyError(f"{len(self._waiting):,} texts are waiting for the embedding model")
        joined = [self._waiting.join(text, kind, lane) for text in texts]
        jobs = [job for job, _ in joined]
        self._count(deduplicated=sum(known for _, known in joined))
        self._work.set()
        try:
            for job in jobs:
                job.future.add_done_callback(report)
            await asyncio.wait([job.future for job in jobs], return_when=asyncio.FIRST_EXCEPTION)
            failed = next((job for job in jobs if job.future.done() and job.future.exception()), None)
            return {job.text: job.future.result() for job in ([failed] if failed else jobs)}
        finally:
            for job in jobs:
                job.future.remove_done_callback(report)
                self._waiting.leave(job)

    async def _run_batches(self) -> None:
        while True:
            await self._work.wait()
            window = self._waiting.window()
            if window and window[0].lane != Lane.QUERY and self._window_s and len(window) < self._batch_size:
                await asyncio.sleep(self._window_s)
                window = self._waiting.window()
            if window:
                await self._run(window)
            else:
                self._work.clear()

    async def _run(self, window: list[Job]) -> None:
        """Runs one micro-batch in the worker thread; whatever happens there reaches those who wait for it."""
        run = _Run(self.embedder, window, self._batch_size, self._max_batch_tokens)
        started = self._timer()
        running = asyncio.ensure_future(anyio.to_thread.run_sync(run.batch, limiter=self._one_thread))
        try:
            await asyncio.wait({running})
        finally:
            # At the exit the thread is waited for: it must not outlive the model's owner.
            await asyncio.wait({running})
        self._finish(run, running.exception(), self._timer() - started)

    def _finish(self, run: "_Run", error: BaseException | None, seconds: float) -> None:
        self._observe("embedding.batch", seconds, error is not None)
        vectors = [None] * len(run.jobs) if error else list(run.vectors)
        for job, vector in zip(run.jobs, vectors, strict=True):
            self._waiting.finish(job, vector, error)
        self._count(
            embedded=0 if error else len(run.jobs),
            batches=1,
            largest_batch=max(0, len(run.jobs) - self._statistics.largest_batch),
            seconds=seconds,
        )

    def _count(self, *, seconds: float = 0.0, **added: int) -> None:
        now = self._statistics
        sums = {name: getattr(now, name) + value for name, value in added.items()}
        self._statistics = replace(now, seconds=now.seconds + seconds, **sums)


class _Run:
    """One trip to the worker thread: which jobs are run, and their vectors, are decided there."""

    def __init__(self, embedder: Embedder, window: list[Job], batch_size: int, max_batch_tokens: int | None) -> None:
        self.jobs = window
        self.vectors: Vectors = np.empty((0, 0), np.float32)
        self._embedder = embedder
        self._batch_size = batch_size
        self._max_batch_tokens = max_batch_tokens

    def batch(self) -> None:
        # A lone text needs no count; most queries come alone.
        if len(self.jobs) > 1:
            self._count_tokens()
            self.jobs = choose(self.jobs, self._limits())
        self.vectors = self._embedder.encode([job.text for job in self.jobs], self.jobs[0].kind)

    def _count_tokens(self) -> None:
        new = [job for job in self.jobs if job.tokens < 0]
        if not new:
            return
        for job, tokens in zip(new, self._embedder.count_tokens([job.text for job in new]), strict=True):
            job.tokens = tokens

    def _limits(self) -> BatchLimits:
        own = self._embedder.limits
        tokens = own.tokens if self._max_batch_tokens is None else min(own.tokens, self._max_batch_tokens)
        return replace(own, texts=min(own.texts, self._batch_size), tokens=tokens)


def _reporter(progress: Callable[[int, int], object] | None, total: int) -> Callable[[object], None]:
    done = 0

    def report(_: object) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return report
