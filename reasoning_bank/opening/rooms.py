"""Every room of a bank, made from the settings, entered in order, left in reverse."""

import os
import secrets
import socket
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Final

import anyio.to_thread

from reasoning_bank.assets import Assets
from reasoning_bank.background.tasks import Guarded
from reasoning_bank.background.terms import keep_terms_current
from reasoning_bank.background.worker import Handler, OutboxWorker
from reasoning_bank.compression.threaded import ThreadedCompressor
from reasoning_bank.embeddings.switch import ModelSwitch, RunningModel
from reasoning_bank.learning.work import EMBED
from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.monitoring.observing import Observe
from reasoning_bank.monitoring.sampling import Sampler
from reasoning_bank.opening.caching import Caches, balancer, open_caches
from reasoning_bank.opening.clockwork import Clockwork
from reasoning_bank.opening.embedding import configured_model, embedding_handler, model_switch
from reasoning_bank.opening.indexing import vector_index
from reasoning_bank.opening.language import Language, known_cases, language_model
from reasoning_bank.opening.learning import Learning, learning
from reasoning_bank.opening.monitoring import attach, process_sampler
from reasoning_bank.opening.privacy import outgoing, redaction_rules, redactor_of
from reasoning_bank.opening.searching import retriever_of
from reasoning_bank.opening.texts import counting, threaded_compressor, token_counter
from reasoning_bank.opening.tuning import tuned
from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.records import JsonValue
from reasoning_bank.retrieval.ahead import CacheWarmer, Prefetcher
from reasoning_bank.retrieval.reading import Reader
from reasoning_bank.retrieval.retriever import Retriever
from reasoning_bank.retrieval.usage import UsageLog
from reasoning_bank.settings import Settings
from reasoning_bank.storage import facts
from reasoning_bank.storage.database import Database
from reasoning_bank.text.tokens import TokenCounter
from reasoning_bank.vectors.chroma import ChromaDBAdapter
from reasoning_bank.vectors.indexer import Indexer

DATABASE_NAME: Final = "bank.sqlite3"
_SALT: Final = "redaction_salt"


@dataclass(frozen=True)  # no slots: the tasks are made once and kept
class Rooms:
    """What an open bank consists of.

    Attributes:
        settings: those of the user, with what was changed on advice below them.
    """

    settings: Settings
    database: Database
    assets: Assets
    model: RunningModel
    models: ModelSwitch
    retriever: Retriever
    reader: Reader
    prefetcher: Prefetcher
    warmer: CacheWarmer
    redactor: Callable[[str], Redactor]
    learning: Learning
    language: Language | None
    usage: UsageLog
    worker: OutboxWorker
    index: ChromaDBAdapter | None
    indexer: Indexer | None
    tokens: TokenCounter
    count_tokens: Callable[[str], int]
    compressor: ThreadedCompressor
    caches: Caches
    sampler: Sampler
    watched: list[Guarded] = field(default_factory=list[Guarded])
    """What else runs as long as the bank is open: health tells of its end too."""
    standing: dict[str, tuple[JsonValue, datetime]] = field(default_factory=dict[str, tuple[JsonValue, datetime]])
    """Each part's status and since when it has it, as health was last looked at."""

    @cached_property
    def tasks(self) -> tuple[Guarded, ...]:
        """What runs as long as the bank is open."""
        works: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "outbox": self.worker.run,
            "usage": self.usage.run,
            "token ranks": self._load_ranks,
            "terms": partial(keep_terms_current, self.database),
            "sampling": self.sampler.run,
        }
        if self.settings.cache.prefetch and self.caches.tools.config.enabled:
            works["prefetch"] = self.prefetcher.run
        if self.settings.cache.auto_size:
            works["cache sizes"] = balancer(self.caches, self.settings).run
        if self.indexer is not None:
            works["vector index"] = self.indexer.run
        return tuple(Guarded(name, work) for name, work in works.items())

    async def _load_ranks(self) -> None:
        await anyio.to_thread.run_sync(self.tokens.load, abandon_on_cancel=True)


async def open_rooms(settings: Settings, clock: Clockwork, stack: AsyncExitStack, monitor: PerformanceMonitor) -> Rooms:
    """Open every room; leaving `stack` closes them.

    Raises:
        StorageError: the data directory cannot be used.
        ConfigError: the settings name a model the backend does not know.
    """
    database = await stack.enter_async_context(_database(settings, clock, monitor.observe))
    settings = await tuned(settings, database)
    salt = bytes.fromhex(await database.write(lambda c: facts.put_once(c, _SALT, secrets.token_hex(16))))
    assets = Assets(settings.assets_dir, hub_url=settings.assets.hub_url, allow_download=settings.assets.allow_download)
    owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    rules = await anyio.to_thread.run_sync(redaction_rules, settings)
    clean = outgoing(salt, rules)
    model = await stack.enter_async_context(configured_model(settings, assets, clean, monitor.observe))
    models = await stack.enter_async_context(
        model_switch(settings, database, model, assets, clock, owner=owner, observe=monitor.observe)
    )
    tokens = await anyio.to_thread.run_sync(token_counter, settings, assets)
    caches = await open_caches(settings, clock, salt, stack)
    count_tokens = counting(tokens, caches.for_counting())
    index, indexer = vector_index(settings, database, clock, stack, monitor.observe)
    redactor = redactor_of(settings, database, salt, rules)
    retriever = retriever_of(settings, database, models, caches.for_searches(), count_tokens, index, clock)
    reader = Reader(database, details=caches.tools, profiles=caches.profiles)
    compressor = threaded_compressor(settings, tokens, models, caches)
    cases = await known_cases(settings)
    language = await stack.enter_async_context(
        language_model(settings, database, cases, clock, answers=caches.llm, clean=clean, monitor=monitor)
    )
    learns = learning(
        settings,
        database,
        clock,
        redactor=redactor,
        known_cases=cases,
        model=language.model if language else None,
        compressor=compressor,
        wake=lambda: worker.wake(),  # noqa: PLW0108 -- made last: of the handlers that queue more work for it
    )
    handlers = {EMBED: embedding_handler(models, indexer), **learns.handlers}
    worker = _worker(settings, database, handlers, clock, owner=owner, observe=monitor.observe)
    rooms = Rooms(
        settings=settings,
        database=database,
        assets=assets,
        model=model,
        models=models,
        retriever=retriever,
        reader=reader,
        prefetcher=Prefetcher(reader.ahead),
        warmer=CacheWarmer(database, retriever),
        redactor=redactor,
        learning=learns,
        language=language,
        usage=UsageLog(database),
        worker=worker,
        index=index,
        indexer=indexer,
        tokens=tokens,
        count_tokens=count_tokens,
        compressor=compressor,
        caches=caches,
        sampler=process_sampler(settings, database, monitor, clock),
    )
    await _begin(rooms, monitor, stack)
    return rooms


async def _begin(rooms: Rooms, monitor: PerformanceMonitor, stack: AsyncExitStack) -> None:
    attach(rooms, monitor)
    stack.callback(monitor.detach)
    for task in rooms.tasks:
        await stack.enter_async_context(task)


def _database(settings: Settings, clock: Clockwork, observe: Observe) -> Database:
    return Database(
        settings.data_dir / DATABASE_NAME,
        durability=settings.durability,
        busy_timeout_s=settings.storage.busy_timeout_s,
        readers=settings.storage.readers,
        group=settings.storage.group,
        linger_s=settings.storage.linger_ms / 1000,
        slow_s=settings.monitoring.slow_query_ms / 1000,
        observe=observe,
        now=clock.now,
    )


def _worker(
    settings: Settings,
    database: Database,
    handlers: Mapping[str, Handler],
    clock: Clockwork,
    *,
    owner: str,
    observe: Observe,
) -> OutboxWorker:
    return OutboxWorker(
        database,
        handlers,
        now=clock.now,
        owner=owner,
        poll_s=settings.background.poll_s,
        lease_s=settings.background.lease_s,
        batch=settings.background.batch,
        max_attempts=settings.background.max_attempts,
        jitter=clock.jitter,
        observe=observe,
    )
