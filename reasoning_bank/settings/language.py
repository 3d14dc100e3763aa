"""Settings of language models, and of learning with and without them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from reasoning_bank.settings.fields import Directory, Group, Names


class ProviderSettings(Group):
    """Somebody who serves language models: a table `[llm.providers.NAME]`."""

    kind: Literal["chat_completions", "responses", "anthropic", "scripted"] = "chat_completions"
    base_url: str | None = Field(default=None, pattern=r"^https?://")
    api_key: SecretStr | None = None
    script: Directory | None = None


def _model_name(name: str) -> str:
    provider, colon, model = name.partition(":")
    if not (provider and colon and model) or any(map(str.isspace, name)):
        raise ValueError("write PROVIDER:MODEL, such as ollama:qwen3:8b")
    return name


ModelName = Annotated[str, AfterValidator(_model_name)]


class LanguageModelSettings(Group):
    """Language models the bank may ask. Without `model` it asks none, and nothing is sent anywhere."""

    model: ModelName | None = Field(
        default=None,
        description="Who judges, distils and merges, as PROVIDER:MODEL, such as `ollama:qwen3:8b`; unset asks none.",
    )
    strong_model: ModelName | None = Field(default=None, description="Who solves tasks; unset is the same as `model`.")
    fallback_models: Names = Field(
        default=(), description="Asked in this order where a model does not answer; after them the bank's own rules."
    )
    purposes: dict[Literal["judge", "distil", "merge", "intent", "solve"], str] = Field(
        default_factory=dict[Literal["judge", "distil", "merge", "intent", "solve"], str],
        description="Models of single purposes, instead of these: `judge`, `distil`, `merge`, `intent`, `solve`.",
    )
    providers: dict[str, ProviderSettings] = Field(
        default_factory=dict[str, ProviderSettings],
        description="Servers by name: `kind` (chat_completions, responses, anthropic or scripted), `base_url`, "
        "`api_key`, `script`; `openai`, `anthropic`, `openrouter` and `ollama` are known.",
    )
    api_key: SecretStr | None = Field(
        default=None, description="Key of the provider of `model`, where its table has none; never shown anywhere."
    )
    prices: dict[str, tuple[float, ...]] = Field(
        default_factory=dict[str, tuple[float, ...]],
        description="US dollars per million tokens by PROVIDER:MODEL, model or provider: [input, output] or "
        "[input, output, cached input].",
    )
    tokens_per_day: int | None = Field(
        default=1_000_000,
        ge=0,
        le=10**12,
        description="Most tokens of all workspaces on a UTC day, over all processes (tokens).",
    )
    tokens_per_day_per_workspace: int | None = Field(
        default=None, ge=0, le=10**12, description="The same for each workspace (tokens); unset is no limit of its own."
    )
    dollars_per_day: float | None = Field(
        default=None,
        ge=0,
        le=10**12,
        description="Most money of all workspaces on a UTC day (US dollars); needs `prices`.",
    )
    dollars_per_day_per_workspace: float | None = Field(
        default=None, ge=0, le=10**12, description="The same for each workspace (US dollars)."
    )
    pool_size: int = Field(default=10, ge=1, le=1_000, description="Connections, and so requests at once, at most.")
    max_retries: int = Field(
        default=3,
        ge=0,
        le=10,
        description="Most repetitions of a failed request; of all requests 15 % at most, and one a second.",
    )
    timeout_s: float = Field(
        default=120.0, gt=0, le=3_600, description="Longest wait for an answer, repetitions included (seconds)."
    )
    read_timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=3_600,
        description="Longest silence of a server within an answer (seconds); unset is `timeout_s`, since most are "
        "silent until their model has finished.",
    )
    trust_env: bool = Field(default=False, description="Use the proxies that the environment names.")
    ca_file: Directory | None = Field(
        default=None, description="Certificates (PEM) that are trusted instead of the system's."
    )
    templates: Directory | None = Field(
        default=None, description="Your own file of known cases, answered before any model is asked; see README."
    )


class LearningSettings(Group):
    """What the bank makes of what it is told."""

    consolidate: bool = Field(
        default=True,
        description="Merge near-duplicates and settle contradictions in the background.",
    )
    prune_above: int = Field(
        default=50_000,
        ge=0,
        le=100_000_000,
        description="Memories of a workspace above which those never useful are forgotten (memories); 0 never does.",
    )
