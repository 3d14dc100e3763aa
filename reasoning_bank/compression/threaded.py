"""A compressor for an event loop: it works in a thread, asks the embedding model on the loop, and can be cancelled."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Unpack, cast

import anyio.from_thread
import anyio.to_thread
import numpy as np

from reasoning_bank.cache.config import CacheConfig
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
        if key is not None and (known := await self._results.get(key)) is not None:
            if report is not None:
                await report(1.0)
            return known

        def progress(done: float) -> None:
            anyio.from_thread.check_cancelled()
            if report is not None:
                anyio.from_thread.run(report, done)

        started = time.perf_counter()
        work = partial(self._compressor.compress, prompt, encode=self._encode, progress=progress, **options)
        result = await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        if key is not None and not result.degraded:
            await self._results.set(key, result, cost_s=time.perf_counter() - started)
        return result

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
