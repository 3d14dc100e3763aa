"""Where the time of one search went."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Stages of one search in milliseconds; stages may overlap, and a name twice adds up."""

    def __init__(self, timer: Callable[[], float]) -> None:
        """Start now; `timer` is seconds from any start."""
        self._timer = timer
        self._started = timer()
        self._stages_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Time the block as part of a stage."""
        start = self._timer()
        try:
            yield
        finally:
            self.add({name: (self._timer() - start) * 1000})

    def add(self, stages_ms: Mapping[str, float]) -> None:
        """Add milliseconds measured elsewhere."""
        for name, value in stages_ms.items():
            self._stages_ms[name] = self._stages_ms.get(name, 0.0) + value

    def finished(self) -> dict[str, float]:
        """All stages and the `total`, rounded to microseconds."""
        total = (self._timer() - self._started) * 1000
        return {name: round(value, 3) for name, value in {**self._stages_ms, "total": total}.items()}
