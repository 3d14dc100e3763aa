"""Every room of a bank, made from the settings, entered in order, left in reverse."""

import os
import secrets
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final

import anyio.to_thread

from reasoning_bank.assets import Assets
from reasoning_bank.background.tasks import Guarded
from reasoning_bank.background.terms import keep_terms_current
from reasoning_bank.background.worker import Handler, OutboxWorker
from reasoning_bank.compression.threaded import ThreadedCompressor
from reasoning_bank.embeddings.backends import reopen_embedder
from reasoning_bank.embeddings.switch import ModelSwitch, RunningModel
from reasoning_bank.learning.capture import KnowledgeCapturer
from reasoning_bank.learning.editing import MemoryEditor
from reasoning_bank.learning.importing import TraceImporter
from reasoning_bank.learning.intake import Intake
from reasoning_bank.learning.judge import judged_by_rules
from reasoning_bank.learning.recall import RecentlyServed
from reasoning_bank.learning.recording import TraceRecorder
from reasoning_bank.learning.work import EMBED
from reasoning_bank.opening.clockwork import Clockwork
from reasoning_bank.opening.embedding import configured_model, embedding_handler
from reasoning_bank.opening.indexing import vector_index, vector_indexer
from reasoning_bank.opening.privacy import limits_of, redactor_of
from reasoning_bank.opening.searching import retrieval_caches, retriever_of
from reasoning_bank.opening.texts import counting, prompt_compressor, token_counter
from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.retrieval.options import RetrievalCaches
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
    """What an open bank consists of."""

    database: Database
    assets: Assets
    model: RunningModel
    models: ModelSwitch
    retriever: Retriever
    redactor: Callable[[str], Redactor]
    recorder: TraceRecorder
    importer: TraceImporter
    capturer: KnowledgeCapturer
    served: RecentlyServed
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
    model = await stack.enter_async_context(configured_model(settings, assets))
    reopen = partial(reopen_embedder, assets=assets, threads=settings.embeddings.threads)
    models = await stack.enter_async_context(
        ModelSwitch(database, model, reopen=reopen, now=clock.now, owner=owner, poll_s=settings.background.poll_s)
    )
    tokens = await anyio.to_thread.run_sync(token_counter, settings, assets)
    count_tokens = counting(tokens)
    index = vector_index(settings)
    indexer = vector_indexer(settings, database, index, clock) if index is not None else None
    if index is not None:
        stack.push_async_callback(index.close)
    redactor, limits = redactor_of(settings, database, salt), limits_of(settings)
    caches = retrieval_caches(settings)
    retriever = retriever_of(settings, database, models, caches, count_tokens, index, clock)
    served = RecentlyServed()
    intake = Intake(redactor=redactor, limits=limits, served=served, now=clock.now, new_id=clock.new_id)
    recorder = TraceRecorder(database, intake, judge=judged_by_rules)
    rooms = Rooms(
        database=database,
        assets=assets,
        model=model,
        models=models,
        retriever=retriever,
        redactor=redactor,
        recorder=recorder,
        capturer=KnowledgeCapturer(database, recorder, intake),
        importer=TraceImporter(database, redactor=redactor, limits=limits, now=clock.now),
        served=served,
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
