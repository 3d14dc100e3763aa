"""The one place where a call to a model server is tried again: what for, when, how often, and when to stop."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from reasoning_bank.errors import UpstreamError
from reasoning_bank.llm.failures import AttemptError

T = TypeVar("T")

BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 8.0
LONGEST_RETRY_AFTER_S = 60.0
"""What a server may make us wait within a call; asked for more, the call fails at once and says when to come back."""
RETRY_SHARE = 0.15
"""What a call pays in; with the stock and the seconds of an outage it stays below a fifth of some hundred calls."""
RETRIES_PER_S = 1.0
RETRIES_AT_ONCE = 10.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Clocks, waiting and chance, so that tests can hold them still.

    Attributes:
        monotonic: seconds that never go back.
        wall: seconds since 1970, for dates that servers send.
        sleep: waits that many seconds.
        jitter: 0..1, evenly spread.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


class RetryBudget:
    """Token bucket that keeps retries a small share of the calls: an outage must not be multiplied.

    Each call pays in its share, each second 1, each retry takes 1 (Finagle's RetryBudget has both, too).
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._tokens = RETRIES_AT_ONCE
        self._at = monotonic()

    def deposit(self) -> None:
        """Counts a call."""
        self._tokens = min(RETRIES_AT_ONCE, self._tokens + RETRY_SHARE)

    def withdraw(self) -> bool:
        """Returns whether a retry is allowed, and counts it."""
        now = self._monotonic()
        self._tokens = min(RETRIES_AT_ONCE, self._tokens + RETRIES_PER_S * (now - self._at))
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Retrier:
    """Runs attempts of calls until one succeeds, the failure is final, or time or budget is used up.

    Args:
        max_retries: attempts after the first, 0..10; a stale connection is tried again once on top of that.
        timing: clocks, waiting and chance.
    """

    def __init__(self, max_retries: int, timing: Timing) -> None:
        self._max_retries = max_retries
        self._timing = timing
        self._budget = RetryBudget(timing.monotonic)
        self.retries = 0

    async def run(self, attempt: Callable[[float], Awaitable[T]], *, timeout_s: float) -> tuple[T, int]:
        """Returns what the first successful attempt returned, and how many requests were made.

        Args:
            attempt: one request; it is given the seconds left and raises AttemptError.
            timeout_s: all of it, waits included.

        Raises:
            UpstreamError: no attempt succeeded.
        """
        deadline = self._timing.monotonic() + timeout_s
        self._budget.deposit()
        made, waits, free, last = 0, 0, True, None
        while True:
            try:
                result = await attempt(deadline - self._timing.monotonic())
            except AttemptError as error:
                if not error.sent:
                    raise _given_up(last or error, made) from error
                last = error
            else:
                self.retries += made > 0
                return result, made + 1
            self.retries += made > 0
            made += 1
            if last.stale and free:
                free = False
                continue
            wait_s = self._wait_s(last, waits, deadline)
            if wait_s is None:
                raise _given_up(last, made) from last
            waits += 1
            await self._timing.sleep(wait_s)

    def _wait_s(self, error: AttemptError, waits: int, deadline: float) -> float | None:
        """Seconds to wait before the next attempt; None when there is none."""
        if not error.passes or waits >= self._max_retries:
            return None
        if error.retry_after_s is None:
            # Full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
            wait_s = self._timing.jitter() * min(LONGEST_BACKOFF_S, BACKOFF_S * 2**waits)
        else:
            wait_s = error.retry_after_s
        in_time = wait_s <= LONGEST_RETRY_AFTER_S and self._timing.monotonic() + wait_s < deadline
        return wait_s if in_time and self._budget.withdraw() else None


def _given_up(error: AttemptError, attempts: int) -> UpstreamError:
    said = f"{error} (after {attempts} attempts)" if attempts > 1 else str(error)
    return UpstreamError(said, retry_after_s=error.retry_after_s, status=error.status, attempts=attempts)
