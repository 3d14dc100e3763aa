# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# onnxruntime and tokenizers have few types; this file is where they are wrapped.
"""The default backend: all-MiniLM-L6-v2 on onnxruntime, in the process, half a second after the start."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.assets import CATALOG, MINILM, Assets
from reasoning_bank.embeddings.embedder import BatchLimits, EmbeddingIdentity, Kind, Vectors
from reasoning_bank.embeddings.graph import packaged_graph
from reasoning_bank.embeddings.weights import Precision, Tensor, initializers
from reasoning_bank.errors import ModelUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

_DIM = 384
_MAX_TOKENS = 256
_MOST_THREADS = 4
_WEIGHTS = "model.safetensors"
_TOKENIZER = "tokenizer.json"


class OnnxEmbedder:
    """all-MiniLM-L6-v2: mean pooling, 384 dimensions, the first 256 tokens of a text, no prefixes.

    Args:
        assets: where the weights are, or may arrive later: `load` can be tried again.
        precision: "fp32", or "int8" (one scale per channel), about twice as fast where the processor has VNNI.
            The two are different models to a bank.
        threads: threads of one run; 0 is the physical cores this process may use, at most 4.
    """

    def __init__(self, *, assets: Assets, precision: Precision = "fp32", threads: int = 0) -> None:
        self.identity = minilm_identity(precision)
        # A micro-batch costs at most what one text of full length costs, so no query waits longer than that; from
        # about 64 tokens on padding eats the gain of a batch (tests/benchmarks/batch_embedding.py).
        self.limits = BatchLimits(texts=32, tokens=_MAX_TOKENS, alone_above_tokens=64)
        self._assets = assets
        self._precision: Precision = precision
        self._threads = threads
        self._loaded: tuple[Tokenizer, InferenceSession] | None = None

    def load(self) -> None:
        """Reads weights and tokenizer and makes the session; 0.3 to 0.8 s.

        Raises:
            ModelUnavailableError: the weights are missing or damaged, or onnxruntime refuses them.
        """
        if self._loaded is not None:
            return
        folder = self._assets.path(MINILM)
        if folder is None:
            raise ModelUnavailableError(
                f"the weights of {MINILM} are missing or damaged: run `reasoning-bank assets install`"
            )
        try:
            self._loaded = _tokenizer(folder), _session(folder, self._precision, self._threads)
        # Both libraries raise bare Exception and their own types; whatever it was, the model cannot be used.
        except Exception as error:
            raise ModelUnavailableError(f"the weights of {MINILM} could not be loaded: {error}") from error

    def encode(self, texts: Sequence[str], kind: Kind) -> Vectors:
        """Returns (n, 384) float32 unit rows; fp32 rows do not depend on the other texts (to 1e-6).

        Raises:
            ModelUnavailableError: not loaded.
        """
        if not texts:
            return np.empty((0, _DIM), np.float32)
        tokenizer, session = self._ready()
        # int8 activations are quantised over the whole run, so a text's vector would depend on its neighbours.
        step = 1 if self._precision == "int8" else len(texts)
        return np.vstack([_run(tokenizer, session, texts[at : at + step]) for at in range(0, len(texts), step)])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Returns how many tokens of each text are read, the two special ones included; at most 256.

        Raises:
            ModelUnavailableError: not loaded.
        """
        tokenizer, _ = self._ready()
        # One by one: in a batch the tokenizer pads.
        return [len(tokenizer.encode(text).ids) for text in texts]

    def _ready(self) -> "tuple[Tokenizer, InferenceSession]":
        if self._loaded is None:
            raise ModelUnavailableError(f"{MINILM} is not loaded yet")
        return self._loaded


def minilm_identity(precision: Precision) -> EmbeddingIdentity:
    """What vectors of all-MiniLM-L6-v2 can be compared with, whichever library computed them."""
    digests = {file.path: file.sha256 for file in CATALOG[MINILM].files}
    return EmbeddingIdentity(
        MINILM,
        _DIM,
        max_tokens=_MAX_TOKENS,
        pooling="mean",
        precision=precision,
        weights_sha256=digests[_WEIGHTS],
        tokenizer_sha256=digests[_TOKENIZER],
    )


def _tokenizer(folder: Path) -> "Tokenizer":
    from tokenizers import Tokenizer  # noqa: PLC0415 (not loaded unless a model is)

    tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    # The file itself says: cut at 128 and pad everything to 128. Both are wrong for this model.
    tokenizer.enable_truncation(_MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer


def _session(folder: Path, precision: Precision, threads: int) -> "InferenceSession":
    import onnxruntime  # noqa: PLC0415 (not loaded unless a model is)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or min(_MOST_THREADS, _physical_cores())
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle workers would spin: three times the processor time per query, on a machine shared by several servers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # onnxruntime copies the values while the session is made; ours are dropped when this function returns.
    values = _ort_values(initializers(folder / _WEIGHTS, precision))
    options.add_external_initializers(list(values), list(values.values()))
    return onnxruntime.InferenceSession(packaged_graph(precision), options, providers=["CPUExecutionProvider"])


def _ort_values(tensors: "Mapping[str, Tensor]") -> dict[str, object]:
    from onnxruntime import OrtValue  # noqa: PLC0415

    return {name: OrtValue.ortvalue_from_numpy(tensor) for name, tensor in tensors.items()}


def _physical_cores() -> int:
    """Cores this process may use; two hardware threads of one core do not multiply faster."""
    import psutil  # noqa: PLC0415

    physical = psutil.cpu_count(logical=False) or 1
    logical = psutil.cpu_count() or physical
    try:
        allowed = len(psutil.Process().cpu_affinity() or [])
    except AttributeError:  # macOS has no affinity
        allowed = logical
    return max(1, min(physical, allowed * physical // logical or 1))


def _run(tokenizer: "Tokenizer", session: "InferenceSession", texts: Sequence[str]) -> Vectors:
    encodings = tokenizer.encode_batch(list(texts))
    inputs = {
        "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
        "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int64),
    }
    return cast("list[NDArray[np.float32]]", session.run(["embedding"], inputs))[0]
