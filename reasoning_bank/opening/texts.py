"""What counts tokens and shortens prompts, from the settings."""

import hashlib
import time
from collections.abc import Callable

from reasoning_bank.assets import Assets
from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.compression.lingua import llmlingua
from reasoning_bank.compression.threaded import ThreadedCompressor
from reasoning_bank.embeddings.switch import ModelSwitch
from reasoning_bank.errors import ConfigError, InputError
from reasoning_bank.opening.caching import Caches
from reasoning_bank.settings import Settings
from reasoning_bank.text.tokens import TokenCounter, counter, estimate


def token_counter(settings: Settings, assets: Assets) -> TokenCounter:
    """What counts tokens as the settings say; raises ConfigError for a tokenizer nobody knows."""
    try:
        return counter(settings.compression.tokenizer, assets.directory)
    except InputError as error:
        raise ConfigError(f"compression.tokenizer: {error}") from error


def prompt_compressor(settings: Settings, tokens: TokenCounter) -> PromptCompressor:
    """The compressor as the settings say."""
    chosen = settings.compression
    return PromptCompressor(
        chosen.max_tokens,
        chosen.ratio,
        tokenizer=tokens,
        truncation_head_ratio=chosen.truncation_head_ratio,
        on_overflow=chosen.on_overflow,
        shorten=llmlingua(chosen.llmlingua_model) if chosen.backend == "llmlingua" else None,
    )


def threaded_compressor(
    settings: Settings, tokens: TokenCounter, models: ModelSwitch, caches: Caches
) -> ThreadedCompressor:
    """The compressor for an event loop, comparing meanings with whatever model is serving."""
    return ThreadedCompressor(
        prompt_compressor(settings, tokens),
        model=lambda: models.serving if settings.compression.meaning else None,
        model_wait_s=settings.embeddings.query_wait_ms / 1000,
        vectors=caches.texts,
        results=caches.tools,
    )


def counting(tokens: TokenCounter, known: MemoryCache[int]) -> Callable[[str], int]:
    """Counts tokens of a text; an estimate in the first second, so that no search waits for the ranks.

    Args:
        tokens: what counts.
        known: what was counted before, by the ranks only: the same memories are answered again and again. No workspace
            is in its keys: a count is the same whoever asks, and no text can be read from its digest.
    """

    def count(text: str) -> int:
        if not tokens.ready:
            return estimate(text)
        key = ("", hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
        found = known.get(key)
        if found is None:
            started = time.perf_counter()
            found = tokens.count(text)
            known.put(key, found, cost_s=time.perf_counter() - started)
        return found

    return count
