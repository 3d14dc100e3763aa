"""The end of a server process: bounded, quiet, and with exit code 0 when it was asked to stop."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

logger = logging.getLogger(__name__)

DRAIN_S = 5.0
"""Longest time between being asked to stop and being gone."""
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP") if hasattr(signal, name)
)


@contextmanager
def on_stop_signal(stop: Callable[[], object]) -> Generator[None]:
    """Calls `stop` in the main thread when the process is asked to end; restores the former handlers afterwards."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    # What the parent made us ignore (nohup, a shell's background job) stays ignored.
    taken = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    former = {number: signal.signal(number, handle) for number in taken}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def exit_within(seconds: float) -> None:
    """Ends the process after `seconds`, whatever still runs: what was acknowledged is on disk."""
    watchdog = threading.Timer(seconds, exit_now, args=(0,))
    watchdog.daemon = True
    watchdog.start()


def exit_now(code: int) -> NoReturn:
    """Ends the process without waiting for threads (a model that loads, an index that closes) or flushing stdout.

    A buffered `print` of some library must not reach the protocol's stdout at exit.
    """
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)
