"""Calls that a client repeats although it was told the same before: noticed, counted, never answered otherwise."""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from cachetools import TTLCache

logger = logging.getLogger(__name__)


class RepeatedCalls:
    """Notices who asks the same and is told the same again and again; safe to share between threads.

    Of a call only a digest is kept, with a number.

    Args:
        warn_at: identical calls within the window that are worth a line in the log; one a window for each client and
            tool, however many of its calls are repeated.
        window_s: seconds from the first of them.
        most: calls remembered; the ones noted longest ago go first.
        timer: clock in seconds that never goes backwards.
    """

    def __init__(
        self,
        *,
        warn_at: int = 3,
        window_s: float = 60.0,
        most: int = 2_000,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._warn_at = warn_at
        self._window_s = window_s
        self._calls: TTLCache[bytes, list[int]] = TTLCache(maxsize=most, ttl=window_s, timer=timer)
        self._told: TTLCache[tuple[str, str], bool] = TTLCache(maxsize=most, ttl=window_s, timer=timer)
        self._lock = threading.Lock()

    def note(self, client: str, name: str, arguments: Mapping[str, Any], answer: str) -> int:
        """How often a client has made this call within the window and got this answer, this time included.

        Args:
            client: who asks, as far as it is known.
            name: what is called.
            arguments: what it is called with, as JSON values.
            answer: what was answered; after another answer, the same call is a new one.
        """
        key = _digest(client, name, arguments, answer)
        with self._lock:
            # The list is put once and changed in place: the window begins with the first call.
            times = self._calls.setdefault(key, [0])
            times[0] += 1
            count = times[0]
            news = count == self._warn_at and not self._told.get((client, name))
            if news:
                self._told[client, name] = True
        if news:
            logger.warning(
                "%s asked %s the same %d times within %g s and was answered the same: it could keep the answer",
                client, name, count, self._window_s,
            )  # fmt: skip
        return count


def _digest(client: str, name: str, arguments: Mapping[str, Any], answer: str) -> bytes:
    told = json.dumps([client, name, arguments, answer], sort_keys=True, default=repr)
    return hashlib.blake2b(told.encode(), digest_size=16).digest()
