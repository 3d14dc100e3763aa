"""The vector index the settings name, and who keeps it current."""

from contextlib import AsyncExitStack
from typing import Final

from reasoning_bank.errors import ConfigError
from reasoning_bank.monitoring.observing import Observe
from reasoning_bank.opening.clockwork import Clockwork
from reasoning_bank.settings import Settings
from reasoning_bank.storage.database import Database
from reasoning_bank.vectors.chroma import ChromaDBAdapter
from reasoning_bank.vectors.connection import Cloud, Server
from reasoning_bank.vectors.indexer import Indexer

VECTORS_NAME: Final = "vectors"


def vector_index(
    settings: Settings, database: Database, clock: Clockwork, stack: AsyncExitStack, observe: Observe
) -> tuple[ChromaDBAdapter | None, Indexer | None]:
    """The index the settings name and what keeps it current, not opened; None twice where they want none."""
    index = _configured_index(settings, observe)
    if index is None:
        return None, None
    stack.push_async_callback(index.close)
    return index, _indexer(settings, database, index, clock)


def _indexer(settings: Settings, database: Database, index: ChromaDBAdapter, clock: Clockwork) -> Indexer:
    # Exact search is faster for small workspaces, and an index nobody asks costs a second and 100 MB at each start:
    # under "auto" it is made when a workspace is half way to the size from which it will be asked.
    wanted_from = 1 if settings.vectors.search == "chroma" else max(1, settings.vectors.exact_limit // 2)
    return Indexer(database, index, now=clock.now, index_from=wanted_from, poll_s=settings.background.poll_s)


def _configured_index(settings: Settings, observe: Observe) -> ChromaDBAdapter | None:
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
        cache_size=settings.cache.queries.size,
        batch_size=chosen.batch_size,
        at=at,
        observe=observe,
    )
