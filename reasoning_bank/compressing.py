"""Compression without a bank: the function `compress`, and what the command line uses."""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol, Unpack

from anyio.from_thread import start_blocking_portal

from reasoning_bank.assets import Assets
from reasoning_bank.compression.results import Compression, CompressionLimits, CompressionOptions
from reasoning_bank.embeddings.backends import EmbedderChoice, open_embedder
from reasoning_bank.embeddings.batching import BatchEmbeddingGenerator
from reasoning_bank.embeddings.embedder import Embedder, Kind, Vectors
from reasoning_bank.opening import embedder_choice, outgoing, prompt_compressor, redaction_rules, token_counter
from reasoning_bank.settings import Settings, load_settings


class Compress(Protocol):
    """Compresses one prompt, see `PromptCompressor.compress`."""

    def __call__(self, prompt: str, **options: Unpack[CompressionOptions]) -> Compression:
        """Return the prompt in fewer tokens; raises InputError."""
        ...


def compress(
    prompt: str,
    query: str | None = None,
    *,
    tokenizer: str | None = None,
    meaning: bool = True,
    **limits: Unpack[CompressionLimits],
) -> Compression:
    """Return a prompt in fewer tokens: what loses nothing first, then what has to do with the query is kept.

    Settings are read as everywhere (environment, TOML, defaults); nothing is downloaded, and no bank is opened.
    `PromptCompressor` is the same with everything passed in.

    Args:
        prompt: the text to compress.
        query: what the prompt will be asked; None looks for the prompt's own question.
        tokenizer: what counts the tokens: "o200k_base", "cl100k_base", "wordpiece", "estimated" or a model's name.
        meaning: compare meanings with the embedding model, where its weights are installed; words alone decide else.
        limits: see `CompressionLimits`.

    Raises:
        InputError: the prompt is empty or an option out of its range; the text says what to send.
        ConfigError: the settings are wrong.
    """
    settings = load_settings(compression={"tokenizer": tokenizer}) if tokenizer else load_settings()
    return compressor(settings, meaning=meaning)(prompt, query=query, **limits)


def compressor(settings: Settings, *, meaning: bool = True) -> Compress:
    """Return what compresses as the settings say; a model is loaded when the first prompt needs one.

    Raises:
        ConfigError: the settings name a tokenizer or a model that nobody knows.
    """
    assets = Assets(settings.assets_dir, hub_url=settings.assets.hub_url, allow_download=False)
    made = prompt_compressor(settings, token_counter(settings, assets))
    encode = (
        partial(_encode, embedder_choice(settings, outgoing(b"", redaction_rules(settings))), settings.assets_dir)
        if meaning and settings.compression.meaning
        else None
    )

    return partial(made.compress, encode=encode)


def _encode(choice: EmbedderChoice, directory: Path, texts: Sequence[str], kind: Kind) -> Vectors:
    embedder = _loaded(choice, directory)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(BatchEmbeddingGenerator(embedder)) as generator,
    ):
        return portal.call(partial(generator.generate_batch, texts, kind=kind))


@lru_cache(maxsize=1)
def _loaded(choice: EmbedderChoice, directory: Path) -> Embedder:
    """The model, kept for the next prompt; raises ModelUnavailableError."""
    embedder = open_embedder(choice, Assets(directory, allow_download=False))
    embedder.load()
    return embedder
