"""Which embedder a configuration means, and which one made the vectors a bank already has."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, assert_never

from reasoning_bank.assets import Assets
from reasoning_bank.embeddings.embedder import Embedder, EmbeddingIdentity
from reasoning_bank.embeddings.hashing import HashingEmbedder
from reasoning_bank.embeddings.onnx import OnnxEmbedder, minilm_identity
from reasoning_bank.embeddings.weights import Precision
from reasoning_bank.errors import ConfigError
from reasoning_bank.upstream import checked_url

Backend = Literal["onnx", "sentence_transformers", "openai", "hashing"]

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_DEFAULT_NAMES = {DEFAULT_MODEL, "all-MiniLM-L6-v2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderChoice:
    """What a configuration says about embedding; each backend reads what concerns it.

    Attributes:
        backend: who embeds.
        model: name of the model for that backend.
        precision: arithmetic of `onnx`.
        threads: threads of `onnx`; 0 is the physical cores, at most 4.
        device: where `sentence_transformers` runs.
        base_url: root of the API of `openai`.
        api_key: key of that API; never shown.
        allow_download: whether `sentence_transformers` may fetch a model.
        clean: what every text passes that `openai` sends away.
        trust_env: whether `openai` goes through the proxies that the environment names.
    """

    backend: Backend = "onnx"
    model: str = DEFAULT_MODEL
    precision: Precision = "fp32"
    threads: int = 0
    device: str = "auto"
    base_url: str = "https://api.openai.com/v1"
    api_key: str | None = field(default=None, repr=False)
    allow_download: bool = True
    clean: Callable[[str], str] = field(default=str, compare=False)
    trust_env: bool = False


def open_embedder(choice: EmbedderChoice, assets: Assets) -> Embedder:
    """Returns the embedder of a configuration, not loaded yet.

    Raises:
        ConfigError: the backend does not know the model, or the address or the key cannot be used.
    """
    match choice.backend:
        case "onnx":
            if choice.model not in _DEFAULT_NAMES:
                raise ConfigError(
                    f"backend 'onnx' has only {DEFAULT_MODEL}, not {choice.model!r}: take 'sentence_transformers'"
                )
            return OnnxEmbedder(assets=assets, precision=choice.precision, threads=choice.threads)
        case "hashing":
            return HashingEmbedder()
        case "openai":
            # Imported here: only those who chose it pay for an HTTP client.
            from reasoning_bank.embeddings.openai import OpenAIEmbedder  # noqa: PLC0415

            url = checked_url(choice.base_url, key=choice.api_key, settings="embeddings")
            return OpenAIEmbedder(
                choice.model,
                base_url=url,
                api_key=choice.api_key,
                clean=choice.clean,
                trust_env=choice.trust_env,
            )
        case "sentence_transformers":
            from reasoning_bank.embeddings.sentence_transformers import SentenceTransformersEmbedder  # noqa: PLC0415

            return SentenceTransformersEmbedder(
                choice.model, assets=assets, device=choice.device, allow_download=choice.allow_download
            )
        case _:
            assert_never(choice.backend)


def reopen_embedder(identity: EmbeddingIdentity, *, assets: Assets, threads: int = 0) -> Embedder | None:
    """Returns an embedder whose vectors compare with those of an identity, or None if that cannot be told."""
    for precision in ("fp32", "int8"):
        if identity == minilm_identity(precision):
            return OnnxEmbedder(assets=assets, precision=precision, threads=threads)
    if identity == (hashing := HashingEmbedder(identity.dim)).identity:
        return hashing
    return None
