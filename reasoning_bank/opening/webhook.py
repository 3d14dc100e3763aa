"""Alerts told to a server of the user's: one JSON POST each, never in anybody's way."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Mapping
from typing import Final

from reasoning_bank.errors import ConfigError, UpstreamError
from reasoning_bank.llm.call import Call
from reasoning_bank.llm.pool import APIConnectionPool
from reasoning_bank.records import JsonValue
from reasoning_bank.upstream import checked_url

logger = logging.getLogger(__name__)

_MOST_WAITING: Final = 100
_TIMEOUT_S: Final = 10.0


class Webhook:
    """Posts JSON documents to one address, in order; what cannot be delivered is logged and dropped.

    Args:
        url: where to; it may hold a secret, so it is never logged.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = APIConnectionPool(pool_size=1, max_retries=2, timeout=_TIMEOUT_S)
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._news = asyncio.Event()

    def post(self, document: Mapping[str, JsonValue]) -> None:
        """Have a document posted; where too many wait, the oldest is dropped."""
        self._waiting.append(json.dumps(document, ensure_ascii=False).encode())
        self._news.set()

    async def run(self) -> None:
        """Deliver what is to be posted, until cancelled."""
        async with self._pool as pool:
            while True:
                await self._news.wait()
                self._news.clear()
                while self._waiting:
                    await self._deliver(pool, self._waiting.popleft())

    async def _deliver(self, pool: APIConnectionPool, body: bytes) -> None:
        try:
            await pool.post(Call(self._url, body, {}), lambda answer: answer)
        except UpstreamError as error:
            logger.warning("an alert could not be posted: %s", error)


def webhook(url: str | None) -> Webhook | None:
    """The webhook of an address; None without one. Raises ConfigError for an address no such server has."""
    if url is None:
        return None
    try:
        checked_url(url.partition("?")[0], key=None, settings="monitoring")
    except ConfigError as error:  # whose text may repeat the address, and that may be a secret
        raise ConfigError("monitoring.webhook_url is no http(s) address that alerts can be posted to") from error
    return Webhook(url)
