"""A compressor for an event loop: it works in a thread, asks the embedding model on the loop, and can be cancelled."""

import hashlib
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Unpack

import anyio.from_thread
import anyio.to_thread
import numpy as np

from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.compression.results import Compression, CompressionOptions
from reasoning_bank.embeddings.embedder import Kind, Vectors
from reasoning_bank.errors import ModelUnavailableError

if TYPE_CHECKING:
    from reasoning_bank.embeddings.switch import RunningModel

Report = Callable[[float], Coroutine[Any, Any, object]]
"""Told the share done, 0..1, on the event loop."""

_KEPT_UNITS: Final = 4_096
_KEPT_S: Final = 3_600.0


class ThreadedCompressor:
    """Runs a compressor for any number of concurrent callers; a cancelled caller's work ends at its next step.

    Args:
        compressor: what does the work.
        model: the embedding model in use, None when there is none.
        model_wait_s: seconds to wait for a model that is being loaded.
    """

    def __init__(
        self, compressor: PromptCompressor, *, model: "Callable[[], RunningModel | None]", model_wait_s: float
    ) -> None:
        self._compressor = compressor
        self._model = model
        self._model_wait_s = model_wait_s
        # The same prompt is compressed again for another question, or with one more turn: most units are known then.
        self._vectors = MemoryCache[Vectors](_KEPT_UNITS, _KEPT_S)

    async def compress(
        self, prompt: str, *, report: Report | None = None, **options: Unpack[CompressionOptions]
    ) -> Compression:
        """See `PromptCompressor.compress`; without a model ready in time the answer is degraded, not late."""

        def progress(done: float) -> None:
            anyio.from_thread.check_cancelled()
            if report is not None:
                anyio.from_thread.run(report, done)

        work = partial(self._compressor.compress, prompt, encode=self._encode, progress=progress, **options)
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)

    def _encode(self, texts: Sequence[str], kind: Kind) -> Vectors:
        return anyio.from_thread.run(self._embedded, texts, kind)

    async def _embedded(self, texts: Sequence[str], kind: Kind) -> Vectors:
        model = self._model()
        if model is None or not await model.wait_ready(self._model_wait_s):
            raise ModelUnavailableError("no embedding model is ready")
        keys = [_key(model.embedder.identity.model_id, kind, text) for text in texts]
        known = {key: self._vectors.get(key) for key in keys}
        new = {key: text for key, text in zip(keys, texts, strict=True) if known[key] is None}
        made = await model.generator.generate_batch(list(new.values()), kind=kind)
        for key, vector in zip(new, made, strict=True):
            self._vectors.put(key, vector)
            known[key] = vector
        return np.stack([vector for key in keys if (vector := known[key]) is not None])


def _key(model_id: str, kind: Kind, text: str) -> tuple[str, ...]:
    # Nobody's workspace: equal texts have equal vectors, and only their digests are kept.
    return ("", model_id, kind, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
