# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch and sentence-transformers have few types, and are not installed everywhere; this file is where they are wrapped.
"""Any Hugging Face sentence model, on a GPU if there is one; needs the extra `[sentence-transformers]`."""

import hashlib
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reasoning_bank.assets import MINILM, Assets
from reasoning_bank.embeddings.embedder import BatchLimits, EmbeddingIdentity, Kind, Vectors, unit_rows
from reasoning_bank.embeddings.onnx import minilm_identity
from reasoning_bank.errors import ModelUnavailableError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

_DEFAULT_MODEL = f"sentence-transformers/{MINILM}"
# A call costs about ten milliseconds of Python, which batches of short texts share; long ones only pad each other.
_CPU_LIMITS = BatchLimits(texts=32, tokens=2_048, alone_above_tokens=128)
_GPU_LIMITS = BatchLimits(texts=1_024, tokens=65_536, alone_above_tokens=65_536)
_UNLIMITED_TOKENS = 1_000_000
_PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


class SentenceTransformersEmbedder:
    """A sentence-transformers model.

    Args:
        model: Hugging Face name or a folder; the default model is taken from the assets when they have it.
        assets: where the default model is.
        device: "auto" (cuda, else mps, else cpu), "cpu", "mps", "cuda" or "cuda:N"; one that is not there is
            replaced by the CPU with a warning.
        allow_download: let Hugging Face fetch a model that is not in its cache.
        prefix_query: put before queries; None is what the model itself says.
        prefix_document: put before documents; None is what the model itself says.
    """

    def __init__(
        self,
        model: str = _DEFAULT_MODEL,
        *,
        assets: Assets,
        device: str = "auto",
        allow_download: bool = True,
        prefix_query: str | None = None,
        prefix_document: str | None = None,
    ) -> None:
        self.limits = _CPU_LIMITS
        self._name = model
        self._assets = assets
        self._device = device
        self._allow_download = allow_download
        self._prefixes = prefix_query, prefix_document
        self._model: SentenceTransformer | None = None
        self._identity: EmbeddingIdentity | None = None

    @property
    def identity(self) -> EmbeddingIdentity:
        """What its vectors can be compared with.

        Raises:
            ModelUnavailableError: before `load`.
        """
        if self._identity is None:
            raise ModelUnavailableError(f"{self._name!r} is not loaded yet")
        return self._identity

    def load(self) -> None:
        """Imports torch and loads the model; 5 to 15 s.

        Raises:
            ModelUnavailableError: the extra is not installed, or the model cannot be loaded.
        """
        if self._model is not None:
            return
        try:
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415 (an extra, and ten seconds)
        except ImportError as error:
            raise ModelUnavailableError(
                "`sentence_transformers` needs its extra: pip install 'reasoning-bank[sentence-transformers]'"
            ) from error
        folder = self._assets.path(MINILM) if self._name in {_DEFAULT_MODEL, MINILM} else None
        device = _device(self._device)
        try:
            model = SentenceTransformer(
                str(folder or self._name),
                device=device,
                local_files_only=folder is not None or not self._allow_download,
            )
        # transformers, torch and huggingface_hub each have their own errors; whatever it was, there is no model.
        except Exception as error:
            raise ModelUnavailableError(f"{self._name!r} could not be loaded: {error}") from error
        self._identity = minilm_identity("fp32") if folder else _identity(model, self._name, self._prefixes)
        self.limits = _CPU_LIMITS if device == "cpu" else _GPU_LIMITS
        self._model = model
        logger.info("%s runs on %s", self._name, device)

    def encode(self, texts: Sequence[str], kind: Kind) -> Vectors:
        """Returns (n, dim) float32 unit rows.

        Raises:
            ModelUnavailableError: not loaded, or one text alone does not fit into the GPU's memory.
        """
        if not texts:
            return np.empty((0, self.identity.dim), np.float32)
        prefix = self.identity.prefix_query if kind == "query" else self.identity.prefix_document
        return unit_rows(self._encode(list(texts), prefix))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Returns how many tokens of each text are read, without the prefix.

        Raises:
            ModelUnavailableError: not loaded.
        """
        if not texts:
            return []
        longest = self.identity.max_tokens
        tokenizer: Any = self._ready().tokenizer
        return [len(ids) for ids in tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"]]

    def _encode(self, texts: list[str], prefix: str) -> Vectors:
        from torch import OutOfMemoryError  # noqa: PLC0415 (loaded with the model)

        try:
            vectors = self._ready().encode(
                texts, prompt=prefix or None, batch_size=len(texts), convert_to_numpy=True, show_progress_bar=False
            )
        except OutOfMemoryError as error:
            if len(texts) == 1:
                raise ModelUnavailableError(f"the device has no room for one text of {self._name!r}") from error
            logger.info("The device has no room for %d texts at once; trying halves", len(texts))
            half = len(texts) // 2
            return np.vstack([self._encode(texts[:half], prefix), self._encode(texts[half:], prefix)])
        return np.asarray(vectors, np.float32)

    def _ready(self) -> "SentenceTransformer":
        if self._model is None:
            raise ModelUnavailableError(f"{self._name!r} is not loaded yet")
        return self._model


def _device(wanted: str) -> str:
    import torch  # noqa: PLC0415 (loaded with the model)

    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, there in has.items() if there)
    if has.get(wanted.partition(":")[0], False):
        return wanted
    logger.warning("There is no device %s here; embedding runs on the CPU", wanted)
    return "cpu"


def _identity(model: "SentenceTransformer", name: str, prefixes: tuple[str | None, str | None]) -> EmbeddingIdentity:
    weights, precision = _weights(model)
    said = model.prompts
    query, document = prefixes
    vocabulary = json.dumps(sorted(model.tokenizer.get_vocab().items())).encode()
    return EmbeddingIdentity(
        name,
        dim=int(model.get_embedding_dimension() or 0),
        max_tokens=int(model.max_seq_length or _UNLIMITED_TOKENS),
        pooling=_pooling(model),
        precision=precision,
        prefix_query=said.get("query") or "" if query is None else query,
        prefix_document=said.get("document") or "" if document is None else document,
        weights_sha256=weights,
        tokenizer_sha256=hashlib.sha256(vocabulary).hexdigest(),
    )


def _weights(model: "SentenceTransformer") -> tuple[str, str]:
    """The sha256 hex digest of the values (files may store equal values differently) and their precision."""
    import torch  # noqa: PLC0415 (loaded with the model)

    digest = hashlib.sha256()
    precision = "fp32"
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        if tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            precision = _PRECISIONS.get(kind, kind)
    return digest.hexdigest(), precision


def _pooling(model: "SentenceTransformer") -> str:
    says = [getattr(part, "get_pooling_mode_str", None) for part in model]
    return next((str(say()) for say in says if callable(say)), "unknown")
