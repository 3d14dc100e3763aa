"""Where the time of one search went."""

from collections.abc import Callable


class Stopwatch:
    """Laps of one search in milliseconds, each from the end of the one before; a name twice adds up."""

    def __init__(self, timer: Callable[[], float]) -> None:
        """Start now; `timer` is seconds from any start."""
        self._timer = timer
        self._started = self._last = timer()
        self.laps_ms: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """End a lap."""
        now = self._timer()
        self.laps_ms[name] = self.laps_ms.get(name, 0.0) + (now - self._last) * 1000
        self._last = now

    def finished(self) -> dict[str, float]:
        """All laps and their `total`, rounded to microseconds."""
        total = (self._timer() - self._started) * 1000
        return {name: round(value, 3) for name, value in {**self.laps_ms, "total": total}.items()}
