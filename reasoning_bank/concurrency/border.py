"""The border of a thread: nobody stands above it who would hear what its work raises."""

from collections.abc import Callable
from types import TracebackType


class Border:
    """Tells what its block raises, whatever it is, instead of raising it on, as executors do.

    Args:
        tell: hands the error to whoever waits for the work.
    """

    def __init__(self, tell: Callable[[BaseException], object]) -> None:
        self._tell = tell

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            self._tell(error)
        return error is not None
