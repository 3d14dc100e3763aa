"""Which model answers what: a fast one for small questions, a strong one for solving, others where these fail."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, get_args

from reasoning_bank.errors import ConfigError
from reasoning_bank.llm.exchange import Provider, Purpose, TokenUsage

PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)
_STRONG: Final[frozenset[Purpose]] = frozenset({"solve"})


@dataclass(frozen=True, slots=True)
class Price:
    """What a model takes, in US dollars per million tokens, which is micro-dollars per token."""

    input: float
    output: float
    cached_input: float | None = None
    """Input the server had read before; None: as any other input."""

    def micros(self, usage: TokenUsage) -> int:
        """Return what an answer costs in millionths of a dollar, rounded up."""
        cached = self.input if self.cached_input is None else self.cached_input
        return ceil(usage.input_uncached * self.input + usage.input_cached * cached + usage.output * self.output)


@dataclass(frozen=True, slots=True)
class Target:
    """A model at a provider.

    Attributes:
        provider: the provider's name in the configuration.
        model: the model's name at the provider.
        client: who sends the request.
        price: None: unknown.
    """

    provider: str
    model: str
    client: Provider
    price: Price | None = None

    @property
    def name(self) -> str:
        """Its name in the configuration and in the counts: "PROVIDER:MODEL"."""
        return f"{self.provider}:{self.model}"


Routes = Mapping[Purpose, Sequence[Target]]
"""For each purpose, whom to ask, in this order."""


def routes(
    providers: Mapping[str, Provider],
    *,
    fast: str,
    strong: str | None = None,
    fallback: Sequence[str] = (),
    purposes: Mapping[Purpose, str] | None = None,
    prices: Mapping[str, Price] | None = None,
) -> Routes:
    """Return whom to ask for each purpose: its own model, then the fallbacks; nobody twice.

    Args:
        providers: by the names that models are configured with.
        fast: "PROVIDER:MODEL" for everything but solving.
        strong: the same for solving; None: `fast`.
        fallback: asked in this order where the model of a purpose does not answer.
        purposes: models of single purposes, instead of `fast` or `strong`.
        prices: by "PROVIDER:MODEL", or by a model's name, or by a provider's for all its models.

    Raises:
        ConfigError: a model is not written "PROVIDER:MODEL", or its provider is not configured.
    """
    chosen: dict[Purpose, str] = {purpose: (strong or fast) if purpose in _STRONG else fast for purpose in PURPOSES}
    chosen.update(purposes or {})
    return {
        purpose: tuple(_target(name, providers, prices or {}) for name in dict.fromkeys((first, *fallback)))
        for purpose, first in chosen.items()
    }


def refuse_unpriced(targets: Iterable[Target]) -> None:
    """Check that every model has a price, so that a limit of money can hold.

    Raises:
        ConfigError: naming the models without one.
    """
    if unpriced := sorted({target.name for target in targets if target.price is None}):
        raise ConfigError(
            f"a limit of money needs the price of {', '.join(unpriced)}: set it under llm.prices (0 for a free one)"
        )


def _target(name: str, providers: Mapping[str, Provider], prices: Mapping[str, Price]) -> Target:
    provider, _, model = name.partition(":")
    if not model or provider not in providers:
        known = ", ".join(sorted(providers)) or "none"
        raise ConfigError(f"the model {name!r} must be PROVIDER:MODEL with a configured provider ({known})")
    priced = next((key for key in (name, model, provider) if key in prices), None)
    return Target(provider, model, providers[provider], prices[priced] if priced else None)
