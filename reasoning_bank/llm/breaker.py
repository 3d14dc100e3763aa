"""Circuit breaker: a model server that fails again and again is left alone for a while.

Closed, open, half-open (M. Nygard, "Release It!", 2007, ch. 5). One breaker per (host, model).
"""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal

from reasoning_bank.llm.failures import AttemptError, Health

BreakerState = Literal["closed", "open", "half_open"]

WINDOW_CALLS = 20
WINDOW_S = 30.0
LEAST_CALLS = 10
FAILED_SHARE = 0.5
COOLDOWN_S = 5.0
LONGEST_COOLDOWN_S = 60.0
_SPREAD = 0.2
"""A cooldown is up to a fifth longer, by chance: many processes must not come back in the same instant."""


class CircuitBreaker:
    """Opens when at least half of at least 10 attempts of the last 30 s failed; then one probe at a time.

    Args:
        monotonic: clock in seconds that never goes back.
        jitter: 0..1, evenly spread.
    """

    def __init__(self, *, monotonic: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._jitter = jitter
        self._attempts: deque[tuple[float, bool]] = deque(maxlen=WINDOW_CALLS)
        self._open_until: float | None = None
        self._cooldown_s = COOLDOWN_S
        self._probing = False
        self._reason = ""

    @property
    def state(self) -> BreakerState:
        """Whether attempts are let through, all, none or one."""
        if self._open_until is None:
            return "closed"
        return "open" if self._monotonic() < self._open_until else "half_open"

    @contextmanager
    def attempt(self, whom: str) -> Generator[None]:
        """Lets one attempt through and counts how it ends; one that is cancelled counts as nothing.

        Raises:
            AttemptError: it is open; says until when and why.
        """
        probe = self._admit(whom)
        health: Health = "unknown"
        try:
            yield
            health = "well"
        except AttemptError as error:
            health, self._reason = error.health, str(error)
            raise
        finally:
            if probe:
                self._probing = False
            self._record(health, probe=probe)

    def broke_off(self, error: AttemptError) -> None:
        """Counts an answer that had begun well and did not come to its end."""
        self._reason = str(error)
        self._record(error.health, probe=False)

    def _admit(self, whom: str) -> bool:
        """Lets an attempt through; returns whether it is the probe."""
        if self._open_until is None:
            return False
        left_s = max(0.0, self._open_until - self._monotonic())
        if left_s or self._probing:
            said = f"{whom} is left alone for {left_s:.0f} s after failures, the last: {self._reason}"
            raise AttemptError(said, retry_after_s=round(left_s, 1), sent=False)
        self._probing = True
        return True

    def _record(self, health: Health, *, probe: bool) -> None:
        if health == "refused":
            # The next try would be refused too: somebody has to change the key.
            self._cooldown_s = LONGEST_COOLDOWN_S
            self._open()
        elif health == "unknown":
            return
        elif probe:
            self._close() if health == "well" else self._open()
        elif self._open_until is None:
            self._count(failed=health == "failure")

    def _count(self, *, failed: bool) -> None:
        now = self._monotonic()
        self._attempts.append((now, failed))
        recent = [bad for at, bad in self._attempts if now - at <= WINDOW_S]
        if len(recent) >= LEAST_CALLS and sum(recent) >= FAILED_SHARE * len(recent):
            self._open()

    def _open(self) -> None:
        self._open_until = self._monotonic() + self._cooldown_s * (1 + _SPREAD * self._jitter())
        self._cooldown_s = min(2 * self._cooldown_s, LONGEST_COOLDOWN_S)

    def _close(self) -> None:
        self._open_until = None
        self._cooldown_s = COOLDOWN_S
        self._attempts.clear()
