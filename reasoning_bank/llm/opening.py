"""Everything that answers, opened and closed together: providers with their connections, templates, cache, budget."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import anyio.to_thread
from pydantic import BaseModel

from reasoning_bank.cache.file import FileCache
from reasoning_bank.llm.budget import Budget, Limits
from reasoning_bank.llm.exchange import Purpose
from reasoning_bank.llm.model import LanguageModel
from reasoning_bank.llm.providers import OpenProvider, ProviderChoice, open_provider
from reasoning_bank.llm.response_cache import ResponseCache
from reasoning_bank.llm.routing import Price, refuse_unpriced, routes
from reasoning_bank.llm.templates import Templates, templates
from reasoning_bank.storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """What a configuration says about language models.

    Attributes:
        providers: model servers by name.
        fast: "PROVIDER:MODEL" that answers everything but `solve`.
        strong: the same for `solve`; None: `fast`.
        fallback: models that are asked, in this order, where the first did not answer.
        purposes: models of single purposes, instead of `fast` or `strong`.
        prices: by "PROVIDER:MODEL", by model or by provider.
        limits: of a UTC day.
        timeout_s: longest wait for one answer, retries included.
        templates: a file of the user's own templates.
        template_confidence: a template less sure than this leaves the question to a model; 0..1.
        cache_file: where answers are kept; None: nowhere.
        cache_ttl_s: how long.
        cache_entries: how many at most.
        cache_bytes: how much they may take together.
    """

    providers: Mapping[str, ProviderChoice]
    fast: str
    strong: str | None = None
    fallback: tuple[str, ...] = ()
    purposes: Mapping[Purpose, str] = field(default_factory=dict[Purpose, str])
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])
    limits: Limits = field(default_factory=Limits)
    timeout_s: float = 120.0
    templates: Path | None = None
    template_confidence: float = 0.8
    cache_file: Path | None = None
    cache_ttl_s: float = 86_400.0
    cache_entries: int = 1_000
    cache_bytes: int = 32 << 20


@asynccontextmanager
async def open_language_model(
    choice: ModelChoice,
    database: Database,
    *,
    clean: Callable[[str], str],
    answers: Mapping[Purpose, type[BaseModel]],
    now: Callable[[], datetime],
) -> AsyncGenerator[tuple[LanguageModel, Mapping[str, OpenProvider]]]:
    """Opens what a configuration means; nothing is sent before the first question.

    Yields the facade and, for diagnosis and figures, the providers by name.

    Args:
        choice: the configuration.
        database: where usage is counted.
        clean: takes secrets out of a text, whatever goes to a model or comes from one.
        answers: what an answer to a purpose must be, to check the templates.
        now: the clock.

    Raises:
        ConfigError: a provider, model, price or template cannot be used.
    """
    known = await anyio.to_thread.run_sync(_templates, choice.templates, answers)
    async with AsyncExitStack() as stack:
        opened = {name: await stack.enter_async_context(open_provider(one)) for name, one in choice.providers.items()}
        table = routes(
            {name: one.provider for name, one in opened.items()},
            fast=choice.fast,
            strong=choice.strong,
            fallback=choice.fallback,
            purposes=choice.purposes,
            prices=choice.prices,
        )
        if choice.limits.of_money:
            refuse_unpriced(target for targets in table.values() for target in targets)
        budget = Budget(database, limits=choice.limits, now=now)
        cache = _cache(choice, now, stack)
        yield (
            LanguageModel(table, budget=budget, templates=known, cache=cache, clean=clean, timeout_s=choice.timeout_s),
            opened,
        )


def _cache(choice: ModelChoice, now: Callable[[], datetime], stack: AsyncExitStack) -> ResponseCache | None:
    if choice.cache_file is None:
        return None
    file = FileCache(
        choice.cache_file,
        ttl_s=choice.cache_ttl_s,
        max_entries=choice.cache_entries,
        max_bytes=choice.cache_bytes,
        now=now,
    )
    stack.callback(file.close)
    return ResponseCache(file)


def _templates(own: Path | None, answers: Mapping[Purpose, type[BaseModel]]) -> Templates:
    known = templates(own)
    known.refuse_unfit(answers)
    return known
