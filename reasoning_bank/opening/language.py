"""The language models the settings name; without any, nothing of this is loaded and nothing is ever sent."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
from pydantic import SecretStr

from reasoning_bank.cache.named import Cache
from reasoning_bank.errors import ConfigError
from reasoning_bank.learning.prompting import Verdict
from reasoning_bank.llm.budget import Budget, Limits, Note
from reasoning_bank.llm.exchange import Provider, Purpose
from reasoning_bank.llm.model import LanguageModel
from reasoning_bank.llm.providers import ProviderChoice, open_provider
from reasoning_bank.llm.response_cache import ResponseCache
from reasoning_bank.llm.routing import Price, Routes, Target, refuse_unpriced, routes
from reasoning_bank.llm.templates import Templates, templates
from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.opening.clockwork import Clockwork
from reasoning_bank.settings import LanguageModelSettings, ProviderSettings, Settings
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.llm_usage import Usage

if TYPE_CHECKING:
    from reasoning_bank.llm.pool import APIConnectionPool


KNOWN_PROVIDERS: Final[Mapping[str, ProviderSettings]] = {
    "openai": ProviderSettings(kind="chat_completions", base_url="https://api.openai.com/v1"),
    "anthropic": ProviderSettings(kind="anthropic", base_url="https://api.anthropic.com/v1"),
    "openrouter": ProviderSettings(kind="chat_completions", base_url="https://openrouter.ai/api/v1"),
    "ollama": ProviderSettings(kind="chat_completions", base_url="http://127.0.0.1:11434/v1"),
}
"""Servers that need no table of their own; one of the same name in the settings replaces it."""


@dataclass(frozen=True, slots=True)
class Language:
    """The language models of an open bank.

    Attributes:
        model: what all else asks.
        targets: every model that may be asked, each once.
        pools: the connections to each provider that is a server.
    """

    model: LanguageModel
    targets: tuple[Target, ...]
    pools: Mapping[str, "APIConnectionPool"]


async def known_cases(settings: Settings) -> Templates:
    """The outputs whose meaning is known without a model: the user's, and those that come with the package.

    Raises:
        ConfigError: the user's file cannot be read, or a rule in it cannot be used; names it.
    """
    found = await anyio.to_thread.run_sync(templates, settings.llm.templates)
    found.refuse_unfit({"judge": Verdict})
    if settings.llm.model is not None:  # it is asked on the event loop; the rules' judge has a thread
        await anyio.to_thread.run_sync(found.load)
    return found


@asynccontextmanager
async def language_model(
    settings: Settings,
    database: Database,
    known_cases: Templates,
    clock: Clockwork,
    *,
    answers: Cache[Any],
    clean: Callable[[str], str],
    monitor: PerformanceMonitor,
) -> AsyncGenerator[Language | None]:
    """The language models, or None where the settings name none; nothing is sent before the first question.

    Raises:
        ConfigError: a provider, model, price or script cannot be what it says.
    """
    chosen = settings.llm
    if chosen.model is None:
        yield None
        return
    await anyio.to_thread.run_sync(clean, "")  # the first text reads the rules, which is not for the event loop
    limits = Limits(
        tokens=chosen.tokens_per_day,
        tokens_per_workspace=chosen.tokens_per_day_per_workspace,
        dollars=chosen.dollars_per_day,
        dollars_per_workspace=chosen.dollars_per_day_per_workspace,
    )
    pools: dict[str, APIConnectionPool] = {}
    async with AsyncExitStack() as stack:
        targets = await _routes(chosen, chosen.model, stack, pools)
        every = tuple({target.name: target for ordered in targets.values() for target in ordered}.values())
        if limits.of_money:
            refuse_unpriced(every)
        model = LanguageModel(
            targets,
            budget=Budget(database, limits=limits, now=clock.now, note=_noted(monitor)),
            templates=known_cases,
            cache=ResponseCache(answers) if answers.config.enabled else None,
            clean=clean,
            timeout_s=chosen.timeout_s,
        )
        yield Language(model, every, pools)


def _noted(monitor: PerformanceMonitor) -> Note:
    def note(purpose: Purpose, seconds: float, usage: Usage) -> None:
        for operation in ("llm", f"llm.{purpose}"):
            monitor.observe(operation, seconds, usage.failures > 0)
        monitor.count(f"llm.tokens.{purpose}", usage.tokens)

    return note


async def _routes(
    chosen: LanguageModelSettings, model: str, stack: AsyncExitStack, pools: dict[str, "APIConnectionPool"]
) -> Routes:
    names = [model, *filter(None, [chosen.strong_model]), *chosen.fallback_models, *chosen.purposes.values()]
    providers: dict[str, Provider] = {}
    for name in dict.fromkeys(name.partition(":")[0] for name in names):
        if (table := chosen.providers.get(name) or KNOWN_PROVIDERS.get(name)) is None:
            known = ", ".join(sorted({*KNOWN_PROVIDERS, *chosen.providers}))
            raise ConfigError(f"no provider {name!r}: write one of {known}, or a table [llm.providers.{name}]")
        its_key = chosen.api_key if name == model.partition(":")[0] else None
        opened = await stack.enter_async_context(open_provider(_choice(chosen, table, table.api_key or its_key)))
        providers[name] = opened.provider
        if opened.pool is not None:
            pools[name] = opened.pool
    purposes: dict[Purpose, str] = dict(chosen.purposes)
    return routes(
        providers,
        fast=model,
        strong=chosen.strong_model,
        fallback=chosen.fallback_models,
        purposes=purposes,
        prices={name: _price(name, given) for name, given in chosen.prices.items()},
    )


def _choice(chosen: LanguageModelSettings, table: ProviderSettings, key: SecretStr | None) -> ProviderChoice:
    return ProviderChoice(
        wire=table.kind,
        base_url=table.base_url,
        api_key=key.get_secret_value() if key else None,
        script=table.script,
        pool_size=chosen.pool_size,
        max_retries=chosen.max_retries,
        timeout_s=chosen.timeout_s,
        read_timeout_s=chosen.read_timeout_s,
        trust_env=chosen.trust_env,
        ca_file=chosen.ca_file,
    )


def _price(name: str, given: tuple[float, ...]) -> Price:
    if len(given) not in {2, 3} or min(given) < 0:
        raise ConfigError(f"llm.prices: {name!r} needs [input, output] or [input, output, cached input], none negative")
    return Price(*given)
