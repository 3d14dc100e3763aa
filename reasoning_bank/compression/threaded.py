"""A compressor for an event loop: it works in a thread, asks the embedding model on the loop, and can be cancelled."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Unpack, cast

import anyio
import anyio.from_thread
import anyio.to_thread
import numpy as np

from reasoning_bank.cache.config import CacheConfig
from reasoning_bank.cache.flight import SingleFlight
from reasoning_bank.cache.named import Cache
from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.compression.results import Compression, CompressionOptions
from reasoning_bank.embeddings.embedder import Kind, Vectors
from reasoning_bank.errors import ModelUnavailableError

if TYPE_CHECKING:
    from reasoning_bank.embeddings.switch import RunningModel

Report = Callable[[float], Coroutine[Any, Any, object]]
"""Told the share done, 0..1, on the event loop."""

_UNITS: Final = CacheConfig(max_size=4_096)
_RESULTS: Final = CacheConfig(max_size=0)
_REPORT_S: Final = 1.0
"""Longest wait for one who listens and does not take it: others wait for the same result."""
_LARGEST_KEPT: Final = 65_536
"""Characters of a prompt whose result is kept: it is hardly ever the same again when it is longer."""


class ThreadedCompressor:
    """Runs a compressor for any number of concurrent callers; a cancelled caller's work ends at its next step.

    Args:
        compressor: what does the work.
        model: the embedding model in use, None when there is none.
        model_wait_s: seconds to wait for a model that is being loaded.
        vectors: unit vectors of texts: the same prompt is compressed again for another question, or with one more turn.
        results: what the same prompt gave with the same options.
    """

    def __init__(
        self,
        compressor: PromptCompressor,
        *,
        model: "Callable[[], RunningModel | None]",
        model_wait_s: float,
        vectors: Cache[Vectors] | None = None,
        results: Cache[Compression] | None = None,
    ) -> None:
        self._compressor = compressor
        self._model = model
        self._model_wait_s = model_wait_s
        self._vectors = vectors or Cache("texts", _UNITS)
        self._results = results or Cache("results", _RESULTS)
        self._tokens = Counter[str]()
        self._flight = SingleFlight[Compression]()
        self._listening: dict[Hashable, list[Report]] = {}

    async def compress(
        self, prompt: str, *, report: Report | None = None, **options: Unpack[CompressionOptions]
    ) -> Compression:
        """See `PromptCompressor.compress`; without a model ready in time the answer is degraded, not late."""
        result = await self._compressed(prompt, report, options)
        self._tokens.update(tokens_before=result.tokens_before, tokens_after=result.tokens_after)
        return result

    def counters(self) -> dict[str, float]:
        """`tokens_before` and `tokens_after` of all prompts since it was made."""
        return dict(self._tokens)

    async def _compressed(self, prompt: str, report: Report | None, options: CompressionOptions) -> Compression:
        key = _key(prompt, self._model(), options) if len(prompt) <= _LARGEST_KEPT else None
        if key is None:
            return await self._worked(prompt, options, [report] if report else [])
        if (known := await self._results.get(key)) is not None:
            if report is not None:
                await report(1.0)
            return known
        return await self._shared(key, prompt, report, options)

    async def _shared(
        self, key: Hashable, prompt: str, report: Report | None, options: CompressionOptions
    ) -> Compression:
        """One run for all that ask the same at the same time; each is told how far it is, as long as it waits."""
        listening = self._listening.setdefault(key, [])
        if report is not None:
            listening.append(report)
        try:
            return await self._flight.do(("", key), partial(self._kept, key, prompt, options, listening))
        finally:
            if report is not None:
                listening.remove(report)
            if not listening:
                self._listening.pop(key, None)

    async def _kept(
        self, key: Hashable, prompt: str, options: CompressionOptions, listening: Sequence[Report]
    ) -> Compression:
        started = time.perf_counter()
        result = await self._worked(prompt, options, listening)
        if not result.degraded:
            await self._results.set(key, result, cost_s=time.perf_counter() - started)
        return result

    async def _worked(self, prompt: str, options: CompressionOptions, listening: Sequence[Report]) -> Compression:
        async def tell(done: float) -> None:
            for report in tuple(listening):
                with anyio.move_on_after(_REPORT_S):
                    await report(done)

        def progress(done: float) -> None:
            anyio.from_thread.check_cancelled()
            if listening:
                anyio.from_thread.run(tell, done)

        work = partial(self._compressor.compress, prompt, encode=self._encode, progress=progress, **options)
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)

    def _encode(self, texts: Sequence[str], kind: Kind) -> Vectors:
        return anyio.from_thread.run(self._embedded, texts, kind)

    async def _embedded(self, texts: Sequence[str], kind: Kind) -> Vectors:
        model = self._model()
        if model is None or not await model.wait_ready(self._model_wait_s):
            raise ModelUnavailableError("no embedding model is ready")
        # In nobody's workspace: equal texts have equal vectors, and no text can be read from its digest.
        keys = [(model.embedder.identity.model_id, kind, _digest(text)) for text in texts]
        known = {key: await self._vectors.get(key) for key in keys}
        new = {key: text for key, text in zip(keys, texts, strict=True) if known[key] is None}
        if new:
            started = time.perf_counter()
            made = await model.generator.generate_batch(list(new.values()), kind=kind)
            cost_s = (time.perf_counter() - started) / len(new)
            for key, row in zip(new, made, strict=True):
                vector = known[key] = row.copy()  # a row alone would hold the whole batch
                await self._vectors.set(key, vector, cost_s=cost_s)
        return np.stack([vector for key in keys if (vector := known[key]) is not None])


def _key(prompt: str, model: "RunningModel | None", options: Mapping[str, object]) -> tuple[Hashable, ...]:
    said = {**options, "preserve": tuple(cast("Sequence[str]", options.get("preserve") or ()))}
    model_id = identity.model_id if model is not None and (identity := model.identity) is not None else ""
    return model_id, _digest(prompt), *sorted(said.items())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
