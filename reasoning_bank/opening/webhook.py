"""Alerts told to a server of the user's: one JSON POST each, never in anybody's way."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Mapping
from typing import Final

from reasoning_bank.errors import UpstreamError
from reasoning_bank.llm.call import Call
from reasoning_bank.llm.pool import APIConnectionPool
from reasoning_bank.records import JsonValue

logger = logging.getLogger(__name__)

_MOST_WAITING: Final = 100
_TIMEOUT_S: Final = 10.0
_SHORTEST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 300.0


class Webhook:
    """Posts JSON documents to one address, in order; what is refused is logged and dropped.

    Args:
        url: where to; it may hold a secret, so neither it nor an answer, which may repeat it, is logged.
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
            said = f"the server answered {error.status}" if error.status else "no server answered"
            if error.retry_after_s is None:
                logger.warning("an alert could not be posted to monitoring.webhook_url: %s", said)
                return
            # Asked too often, or not asked because it failed just now: what waits behind it would fare no better.
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.appendleft(body)
            await asyncio.sleep(min(max(error.retry_after_s, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S))
