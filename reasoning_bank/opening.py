"""How a bank is opened: every room made from the settings, entered in order, left in reverse.

Only this file and `bank.py` turn settings into rooms; the rooms themselves take plain arguments.
"""

import base64
import hashlib
import os
import random
import secrets
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, cast
from zoneinfo import ZoneInfo

import anyio.to_thread

from reasoning_bank.assets import MINILM, Assets, ProgressCallback
from reasoning_bank.background.tasks import Guarded
from reasoning_bank.background.terms import keep_terms_current
from reasoning_bank.background.worker import Handler, OutboxWorker
from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.compression.threaded import ThreadedCompressor
from reasoning_bank.embeddings.backends import EmbedderChoice, open_embedder, reopen_embedder
from reasoning_bank.embeddings.switch import ModelSwitch, RunningModel
from reasoning_bank.errors import ConfigError, InputError, ModelUnavailableError
from reasoning_bank.learning.admission import Limits
from reasoning_bank.learning.editing import MemoryEditor
from reasoning_bank.learning.recording import EMBED, TraceRecorder
from reasoning_bank.privacy.redaction import Mode, Redactor
from reasoning_bank.records import Memory, Retrieval
from reasoning_bank.retrieval.intent import Intent
from reasoning_bank.retrieval.meaning import query_model
from reasoning_bank.retrieval.options import RetrievalCaches, RetrievalOptions
from reasoning_bank.retrieval.postings import FloatArray
from reasoning_bank.retrieval.retriever import Retriever
from reasoning_bank.retrieval.scoring import WEIGHTS, Weights
from reasoning_bank.retrieval.usage import UsageLog
from reasoning_bank.settings import Settings
from reasoning_bank.storage import facts, workspaces
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.outbox import OutboxRow
from reasoning_bank.text.tokens import TokenCounter, counter, estimate
from reasoning_bank.vectors.chroma import ChromaDBAdapter
from reasoning_bank.vectors.connection import Cloud, Server
from reasoning_bank.vectors.indexer import Indexer

MODEL_WAIT_S = 5.0
"""Longest wait of background work for a model that is loading; then it is put back, for whoever has one."""
DATABASE_NAME = "bank.sqlite3"
VECTORS_NAME = "vectors"
_SALT = "redaction_salt"
MODES: tuple[Mode, ...] = ("off", "redact", "block")


@dataclass(frozen=True, slots=True)
class Clockwork:
    """Time, ids and chance, passed in so that tests can hold them still."""

    now: Callable[[], datetime]
    new_id: Callable[[str], str]
    jitter: Callable[[], float]


def clockwork() -> Clockwork:
    """The real ones: UTC, 80 random bits per id, a seeded-by-the-system jitter."""
    return Clockwork(now=lambda: datetime.now(UTC), new_id=random_id, jitter=random.random)


def random_id(prefix: str) -> str:
    """An unguessable id such as `m_7k2d…`: the prefix and 80 random bits in base 32."""
    return f"{prefix}_{base64.b32encode(secrets.token_bytes(10)).decode().lower()}"


@dataclass(frozen=True)  # no slots: the tasks are made once and kept
class Rooms:
    """What an open bank consists of."""

    database: Database
    assets: Assets
    model: RunningModel
    models: ModelSwitch
    retriever: Retriever
    redactor: Callable[[str], Redactor]
    recorder: TraceRecorder
    editor: MemoryEditor
    usage: UsageLog
    worker: OutboxWorker
    index: ChromaDBAdapter | None
    indexer: Indexer | None
    tokens: TokenCounter
    count_tokens: Callable[[str], int]
    compressor: ThreadedCompressor
    caches: RetrievalCaches

    @cached_property
    def tasks(self) -> tuple[Guarded, ...]:
        """What runs as long as the bank is open."""
        works: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "outbox": self.worker.run,
            "usage": self.usage.run,
            "token ranks": self._load_ranks,
            "terms": partial(keep_terms_current, self.database),
        }
        if self.indexer is not None:
            works["vector index"] = self.indexer.run
        return tuple(Guarded(name, work) for name, work in works.items())

    async def _load_ranks(self) -> None:
        await anyio.to_thread.run_sync(self.tokens.load, abandon_on_cancel=True)


async def open_rooms(settings: Settings, clock: Clockwork, stack: AsyncExitStack) -> Rooms:
    """Open every room; leaving `stack` closes them.

    Raises:
        StorageError: the data directory cannot be used.
        ConfigError: the settings name a model the backend does not know.
    """
    database = await stack.enter_async_context(
        Database(settings.data_dir / DATABASE_NAME, durability=settings.durability, now=clock.now)
    )
    salt = bytes.fromhex(await database.write(lambda c: facts.put_once(c, _SALT, secrets.token_hex(16))))
    assets = Assets(settings.assets_dir, hub_url=settings.assets.hub_url, allow_download=settings.assets.allow_download)
    owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    model = await stack.enter_async_context(_configured_model(settings, assets))
    reopen = partial(reopen_embedder, assets=assets, threads=settings.embeddings.threads)
    models = await stack.enter_async_context(
        ModelSwitch(database, model, reopen=reopen, now=clock.now, owner=owner, poll_s=settings.background.poll_s)
    )
    tokens = await anyio.to_thread.run_sync(token_counter, settings, assets)
    count_tokens = counting(tokens)
    index = _index(settings)
    indexer = _indexer(settings, database, index, clock) if index is not None else None
    if index is not None:
        stack.push_async_callback(index.close)
    redactor, limits = _redactor(settings, database, salt), _limits(settings)
    caches = _caches(settings)
    retriever = _retriever(settings, database, models, caches, count_tokens, index, clock)
    rooms = Rooms(
        database=database,
        assets=assets,
        model=model,
        models=models,
        retriever=retriever,
        redactor=redactor,
        recorder=TraceRecorder(database, redactor=redactor, limits=limits, now=clock.now, new_id=clock.new_id),
        editor=MemoryEditor(database, redactor=redactor, limits=limits, now=clock.now),
        usage=UsageLog(database),
        worker=_worker(settings, database, embedding_handler(models, indexer), clock, owner),
        index=index,
        indexer=indexer,
        tokens=tokens,
        count_tokens=count_tokens,
        compressor=ThreadedCompressor(
            prompt_compressor(settings, tokens),
            model=lambda: models.serving if settings.compression.meaning else None,
            model_wait_s=settings.embeddings.query_wait_ms / 1000,
        ),
        caches=caches,
    )
    for task in rooms.tasks:
        await stack.enter_async_context(task)
    return rooms


def _caches(settings: Settings) -> RetrievalCaches:
    sizes = settings.cache
    return RetrievalCaches(
        memories=MemoryCache[Memory](sizes.memories_size, sizes.memories_ttl_s),
        queries=MemoryCache[FloatArray](sizes.queries_size, sizes.queries_ttl_s),
        intents=MemoryCache[Intent](sizes.intents_size, sizes.intents_ttl_s),
        contexts=MemoryCache[str](sizes.contexts_size, sizes.contexts_ttl_s),
        answers=MemoryCache[Retrieval](sizes.answers_size, sizes.answers_ttl_s),
    )


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
    )


def _retriever(
    settings: Settings,
    database: Database,
    models: ModelSwitch,
    caches: RetrievalCaches,
    count_tokens: Callable[[str], int],
    index: ChromaDBAdapter | None,
    clock: Clockwork,
) -> Retriever:
    return Retriever(
        database=database,
        model=lambda: query_model(models.serving),
        caches=caches,
        count_tokens=count_tokens,
        now=clock.now,
        index=index,
        options=RetrievalOptions(
            search=settings.vectors.search,
            exact_limit=settings.vectors.exact_limit,
            floor=settings.retrieval.floor,
            model_wait_s=settings.embeddings.query_wait_ms / 1000,
            deadline_s=settings.retrieval.deadline_ms / 1000,
            zone=ZoneInfo(settings.retrieval.time_zone),
            weights=scoring_weights(settings),
            without=frozenset(settings.retrieval.without),
            workspaces=settings.cache.workspaces,
        ),
    )


def scoring_weights(settings: Settings) -> Weights:
    """What ratings, age, errors and trust count in a search, as the settings say."""
    chosen = settings.retrieval
    weights = replace(WEIGHTS[chosen.scoring], half_life_days=chosen.half_life_days)
    return weights if chosen.recency is None else replace(weights, recency=chosen.recency)


def counting(tokens: TokenCounter) -> Callable[[str], int]:
    """Counts tokens of a text; an estimate in the first second, so that no search waits for the ranks."""
    # The same memories are answered again and again: their tokens are counted once, by the ranks only. No workspace
    # is in the key: a count is the same whoever asks, and no text can be read from its digest.
    known = MemoryCache[int]()

    def count(text: str) -> int:
        if not tokens.ready:
            return estimate(text)
        key = (hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(),)
        found = known.get(key)
        if found is None:
            found = tokens.count(text)
            known.put(key, found)
        return found

    return count


def embedder_choice(settings: Settings) -> EmbedderChoice:
    """What the settings say about embedding."""
    chosen = settings.embeddings
    return EmbedderChoice(
        backend=chosen.backend,
        model=chosen.model,
        precision=chosen.precision,
        threads=chosen.threads,
        device=chosen.device,
        base_url=chosen.base_url,
        api_key=chosen.api_key.get_secret_value() if chosen.api_key else None,
        allow_download=settings.assets.allow_download,
    )


def _configured_model(settings: Settings, assets: Assets) -> RunningModel:
    chosen = settings.embeddings

    def obtain(progress: ProgressCallback) -> object:
        return assets.install([MINILM], progress=progress)

    may_fetch = chosen.backend == "onnx" and settings.assets.allow_download
    embedder = open_embedder(embedder_choice(settings), assets)
    return RunningModel(embedder, batch_size=chosen.batch_size, obtain=obtain if may_fetch else None)


def embedding_handler(models: ModelSwitch, indexer: Indexer | None) -> Handler:
    """The outbox handler of {"ids": [memory id, …]}; without a model the rows wait, here or for another process."""

    async def embed(rows: Sequence[OutboxRow]) -> None:
        groups: dict[str, list[str]] = {}
        for row in rows:
            groups.setdefault(row.workspace, []).extend(cast("Mapping[str, list[str]]", row.payload)["ids"])
        for workspace, ids in groups.items():
            if not await models.embed_memories(workspace, ids, timeout_s=MODEL_WAIT_S):
                raise ModelUnavailableError(models.state.load.reason or "the embedding model is not ready")
        if indexer is not None:
            indexer.wake()

    return embed


def _worker(settings: Settings, database: Database, embed: Handler, clock: Clockwork, owner: str) -> OutboxWorker:
    return OutboxWorker(
        database,
        {EMBED: embed},
        now=clock.now,
        owner=owner,
        poll_s=settings.background.poll_s,
        lease_s=settings.background.lease_s,
        max_attempts=settings.background.max_attempts,
        jitter=clock.jitter,
    )


def _limits(settings: Settings) -> Limits:
    limits = settings.limits
    return Limits(limits.task_bytes, limits.memory_bytes, limits.trajectory_bytes, limits.tags)


def _redactor(settings: Settings, database: Database, salt: bytes) -> Callable[[str], Redactor]:
    """The redactor of a workspace: its own privacy mode where it has one, else the setting."""
    redactors = {mode: Redactor(mode, salt) for mode in MODES}

    def of(workspace: str) -> Redactor:
        found = database.read_now(lambda connection: workspaces.find(connection, workspace))
        own = found.privacy_mode if found else None
        return redactors[cast("Mode", own or settings.privacy.mode)]

    return of


def _indexer(settings: Settings, database: Database, index: ChromaDBAdapter, clock: Clockwork) -> Indexer:
    # Exact search is faster for small workspaces, and an index nobody asks costs a second and 100 MB at each start:
    # under "auto" it is made when a workspace is half way to the size from which it will be asked.
    wanted_from = 1 if settings.vectors.search == "chroma" else max(1, settings.vectors.exact_limit // 2)
    return Indexer(database, index, now=clock.now, index_from=wanted_from, poll_s=settings.background.poll_s)


def _index(settings: Settings) -> ChromaDBAdapter | None:
    """The Chroma the settings name, not opened; None where they want none."""
    chosen = settings.vectors
    if chosen.chroma_mode == "off" or chosen.search == "exact":
        return None
    at: Server | Cloud | None = None
    if chosen.chroma_mode == "http":
        headers = {name: value.get_secret_value() for name, value in chosen.chroma_headers.items()}
        at = Server(
            chosen.chroma_host,
            chosen.chroma_port,
            chosen.chroma_ssl,
            headers,
            chosen.chroma_tenant,
            chosen.chroma_database,
        )
    elif chosen.chroma_mode == "cloud":
        if chosen.chroma_api_key is None:
            raise ConfigError("vectors.chroma_mode is 'cloud' but vectors.chroma_api_key is not set")
        at = Cloud(chosen.chroma_api_key.get_secret_value(), chosen.chroma_tenant, chosen.chroma_database)
    return ChromaDBAdapter(
        settings.data_dir / VECTORS_NAME,
        cache_size=settings.cache.queries_size,
        batch_size=chosen.batch_size,
        at=at,
    )
