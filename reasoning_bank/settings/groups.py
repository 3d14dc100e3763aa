"""Every setting with its unit, bounds and meaning: one frozen group per table of the configuration file."""

from typing import Annotated, Literal

import platformdirs
from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from reasoning_bank.records import Stage
from reasoning_bank.settings.caches import CacheSettings
from reasoning_bank.settings.fields import ENV_PREFIX, Directory, Group, Names, TimeZone, split_commas
from reasoning_bank.settings.language import LanguageModelSettings, LearningSettings
from reasoning_bank.settings.monitoring import MonitoringSettings


class EmbeddingSettings(Group):
    """How text becomes vectors. A bank never mixes vectors of two models or precisions."""

    backend: Literal["onnx", "sentence_transformers", "openai", "hashing"] = Field(
        default="onnx",
        description="Who embeds: our MiniLM, a sentence-transformers model (extra), an OpenAI-compatible API, hashing.",
    )
    model: str = Field(
        default="sentence-transformers/all-MiniLM-L6-v2",
        min_length=1,
        description="Model name for the backend; `onnx` knows only the default.",
    )
    precision: Literal["fp32", "int8"] = Field(
        default="fp32",
        description="Arithmetic of the `onnx` backend; int8 is faster on many CPUs and a little less exact.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="Where `sentence_transformers` runs: auto (cuda, else mps, else cpu), cpu, mps, cuda or cuda:N.",
    )
    batch_size: int = Field(
        default=32,
        ge=1,
        le=1024,
        description="Most texts per model run (texts); long texts run in smaller batches, which is faster on a CPU.",
    )
    threads: int = Field(
        default=0, ge=0, le=256, description="Threads of the `onnx` backend; 0 means the physical cores, at most 4."
    )
    base_url: str = Field(
        default="https://api.openai.com/v1",
        pattern=r"^https?://",
        description="Root of the OpenAI-compatible API of the `openai` backend.",
    )
    api_key: SecretStr | None = Field(
        default=None, description="Key for that API; never written to a log, an answer or a report."
    )
    trust_env: bool = Field(default=False, description="Use the proxies that the environment names, for that API.")
    query_wait_ms: int = Field(
        default=300,
        ge=0,
        le=60_000,
        description="Longest wait for a loading model (milliseconds); then a search answers by keyword.",
    )


class VectorSettings(Group):
    """Which index serves similarity search. SQLite stays the truth; every index can be deleted and is rebuilt."""

    search: Literal["auto", "chroma", "exact"] = Field(
        default="auto", description="auto plans per search, chroma always asks Chroma first, exact never does."
    )
    chroma_mode: Literal["embedded", "http", "cloud", "off"] = Field(
        default="embedded", description="Chroma inside one of the processes, a Chroma server, Chroma Cloud, or none."
    )
    chroma_host: str = Field(default="127.0.0.1", min_length=1, description="Host of the Chroma server (http).")
    chroma_port: int = Field(default=8000, ge=1, le=65_535, description="Port of the Chroma server (http).")
    chroma_ssl: bool = Field(default=False, description="Use TLS to the Chroma server (http).")
    chroma_headers: dict[str, SecretStr] = Field(
        default_factory=dict[str, SecretStr],
        description="Headers sent to the Chroma server, such as Authorization (http).",
    )
    chroma_tenant: str = Field(default="default_tenant", min_length=1, description="Tenant of the server or the cloud.")
    chroma_database: str = Field(default="default_database", min_length=1, description="Database of the tenant.")
    chroma_api_key: SecretStr | None = Field(default=None, description="Key for Chroma Cloud (cloud).")
    exact_limit: int = Field(
        default=50_000,
        ge=0,
        le=10_000_000,
        description="Up to this many candidates (memories) exact search is used; above it Chroma supplies candidates.",
    )
    batch_size: int = Field(default=500, ge=1, le=5_000, description="Vectors written to Chroma in one call (vectors).")


class RetrievalSettings(Group):
    """Defaults of a search; each call may say otherwise."""

    k: int = Field(default=3, ge=1, le=100, description="Memories returned at most (memories).")
    floor: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Lowest relevance score a memory may have to be returned (0 to 1); 0 switches the floor off.",
    )
    token_budget: int = Field(
        default=800, ge=0, le=100_000, description="Size of the ready-to-read context block (tokens); 0 means no limit."
    )
    time_zone: TimeZone = Field(
        default="UTC", description='IANA time zone in which a query\'s "yesterday" is meant, such as Europe/Berlin.'
    )
    deadline_ms: int = Field(
        default=2_000,
        ge=1,
        le=60_000,
        description="Longest time a strategy may take (milliseconds); then the others answer, and `degraded` names it.",
    )
    scoring: Literal["default", "seed"] = Field(
        default="default",
        description="What ratings, age and errors count beside relevance: `default` little and only ratings, errors and"
        " trust; `seed` 0.6 similarity, 0.3 recency, 0.1 errors.",
    )
    recency: float | None = Field(
        default=None,
        ge=0,
        le=10,
        description="Most that being recent lifts a memory (standard deviations of the candidates' scores); 0 leaves"
        " age out, unset follows `scoring` (default 0, seed 5).",
    )
    half_life_days: float = Field(
        default=30.0, gt=0, le=36_500, description="Age at which recency has fallen by half (days)."
    )
    without: Annotated[tuple[Stage, ...], NoDecode, BeforeValidator(split_commas)] = Field(
        default=(), description="Parts of the ranking rule left out, to measure what each adds (see `eval --ablate`)."
    )


class CompressionSettings(Group):
    """Defaults of `compress_prompt`; each call may say otherwise."""

    max_tokens: int = Field(
        default=12_000, ge=1, le=10_000_000, description="Most tokens of a compressed prompt (tokens)."
    )
    ratio: float = Field(
        default=0.7, gt=0, le=1, description="Size as a share of the input (0 to 1); the smaller bound holds."
    )
    tokenizer: str = Field(
        default="o200k_base",
        min_length=1,
        description="What counts tokens: `o200k_base`, `cl100k_base`, `wordpiece` (the embedding model's), `estimated`,"
        " or a model's name such as `gpt-4o`; without its file counts are announced as estimated.",
    )
    truncation_head_ratio: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="Share of a cut text kept from its beginning (0 to 1); the rest is kept from its end.",
    )
    on_overflow: Literal["truncate", "error"] = Field(
        default="truncate",
        description="When protected parts alone are over the budget: cut their middle, or refuse with the numbers.",
    )
    meaning: bool = Field(
        default=True, description="Compare meanings with the embedding model, not words alone, when units are chosen."
    )
    backend: Literal["extractive", "llmlingua"] = Field(
        default="extractive",
        description="Cut whole units only, or let LLMLingua-2 (extra) take words out of prose before.",
    )
    llmlingua_model: str = Field(
        default="microsoft/llmlingua-2-bert-base-multilingual-cased-meetingbank",
        min_length=1,
        description="Weights for `llmlingua`: a folder, or a name in the Hugging Face cache; nothing is downloaded.",
    )


PersonalData = Literal["email", "phone", "iban", "card", "national-id"]


class PrivacySettings(Group):
    """What happens to secrets before any text reaches disk, log or index."""

    mode: Literal["off", "redact", "block"] = Field(
        default="redact",
        description="Keep secrets, replace them by placeholders, or refuse the text and name the kinds found.",
    )
    pii: Annotated[tuple[PersonalData, ...], NoDecode, BeforeValidator(split_commas)] = Field(
        default=(), description="Personal data that is treated like secrets, by kind; none by default."
    )
    rules: Directory | None = Field(
        default=None,
        description="TOML file with redaction rules of your own (RE2 syntax); see config/redaction.toml.",
    )


class LimitSettings(Group):
    """Sizes over which a call is refused with the size and the limit; nothing is cut silently."""

    task_bytes: int = Field(default=65_536, ge=1_024, le=1_048_576, description="Largest task text (bytes of UTF-8).")
    memory_bytes: int = Field(default=65_536, ge=1_024, le=1_048_576, description="Largest memory (bytes of UTF-8).")
    trajectory_bytes: int = Field(
        default=4_194_304, ge=1_024, le=67_108_864, description="Largest trajectory (bytes of JSON)."
    )
    message_bytes: int = Field(default=8_388_608, ge=65_536, le=134_217_728, description="Largest MCP message (bytes).")
    tags: int = Field(default=32, ge=0, le=256, description="Most tags on a memory (tags).")
    k: int = Field(default=100, ge=1, le=1_000, description="Most memories one search may ask for (memories).")


class HttpSettings(Group):
    """The server when it speaks Streamable HTTP."""

    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; off loopback tokens are needed."
    )
    port: int = Field(default=8765, ge=0, le=65_535, description="Port to listen on; 0 takes a free one and prints it.")
    path: str = Field(default="/mcp", pattern=r"^/[\w./-]*$", description="Path of the MCP endpoint.")
    auth: Literal["auto", "required", "off"] = Field(
        default="auto",
        description="Bearer tokens: auto asks off loopback, required always, off only on loopback; "
        "one that is sent is verified.",
    )
    allowed_hosts: Names = Field(
        default=(),
        description="Host headers accepted besides the loopback names (DNS rebinding guard); `name:*` allows any port.",
    )
    allowed_origins: Names = Field(
        default=(),
        description="Origin headers accepted besides the loopback origins; requests without an Origin are accepted.",
    )


class AssetSettings(Group):
    """Where model weights and tokenizer ranks come from; each file is verified by sha256 before it is used."""

    allow_download: bool = Field(
        default=True, description="Fetch missing assets in the background; false never touches the network."
    )
    hub_url: str = Field(
        default="https://huggingface.co", pattern=r"^https?://", description="Hugging Face hub or a mirror of it."
    )


class BackgroundSettings(Group):
    """The workers that embed and index what was stored."""

    poll_s: float = Field(
        default=1.0, ge=0.01, le=60, description="Pause between looks for work another process queued (seconds)."
    )
    lease_s: float = Field(
        default=60.0, ge=1, le=3_600, description="Time after which the work of a dead process is taken over (seconds)."
    )
    max_attempts: int = Field(default=5, ge=1, le=100, description="Tries before work is put aside as dead (tries).")
    batch: int = Field(default=32, ge=1, le=1_000, description="Pieces of work taken at once (pieces).")
    max_pending: int = Field(
        default=100_000,
        ge=1,
        le=100_000_000,
        description="Pieces of work waiting above which imports wait; what an assistant stores never does (pieces).",
    )


class StorageSettings(Group):
    """How the database is used."""

    readers: int = Field(default=3, ge=1, le=64, description="Connections kept for reading (connections).")
    busy_timeout_s: float = Field(
        default=10.0, ge=0.1, le=600, description="Longest wait for another process's transaction (seconds)."
    )
    group: int = Field(default=500, ge=1, le=10_000, description="Most writes that share one commit (writes).")
    linger_ms: float = Field(
        default=0.0,
        ge=0,
        le=10_000,
        description="How long a write that nobody waits for may wait for others to share its commit (milliseconds).",
    )


class Settings(BaseSettings):
    """Everything that can be configured; frozen, validated, every field with its unit and bounds."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    data_dir: Directory = Field(
        default_factory=lambda: platformdirs.user_data_path("reasoning-bank", appauthor=False),
        description="Directory of the bank: the truth and its index; one directory may serve many processes.",
    )
    assets_dir: Directory = Field(
        default_factory=lambda: platformdirs.user_cache_path("reasoning-bank", appauthor=False) / "assets",
        description="Directory of model weights and tokenizer ranks; can be deleted and fetched again.",
    )
    workspace: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Workspace of calls over stdio that name none; unset means the project's, else `default`.",
    )
    profile: Literal["core", "full"] = Field(default="core", description="Tools offered: the five core ones, or all.")
    durability: Literal["full", "process"] = Field(
        default="full",
        description="What an acknowledged write survives: full survives a power cut, process survives the "
        "death of the process.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO",
        description="Least severe line written to stderr; prompts, traces and keys are never written at INFO.",
    )
    embeddings: EmbeddingSettings = EmbeddingSettings()
    vectors: VectorSettings = VectorSettings()
    cache: CacheSettings = CacheSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    compression: CompressionSettings = CompressionSettings()
    llm: LanguageModelSettings = LanguageModelSettings()
    learning: LearningSettings = LearningSettings()
    privacy: PrivacySettings = PrivacySettings()
    limits: LimitSettings = LimitSettings()
    http: HttpSettings = HttpSettings()
    assets: AssetSettings = AssetSettings()
    background: BackgroundSettings = BackgroundSettings()
    storage: StorageSettings = StorageSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
