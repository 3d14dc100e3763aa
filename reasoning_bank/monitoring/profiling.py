"""Where the time, the memory and the statements of a piece of a program go; for reading code, not for every call.

    with profile("import") as spent:
        rows = read(file)
    print(spent.running_s, spent.waiting_s)

    @profile_time(threshold=0.1)
    async def answer(question: str) -> str: ...

Decorators take plain and `async` functions, with or without arguments of their own, and log what they found; the
context managers yield it. An `async` function under `profile_time` is timed step by step, so that what other tasks
did while it waited is not its running time.
"""

import functools
import inspect
import logging
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, ParamSpec, TypeVar, overload

from reasoning_bank.monitoring.observing import Observe, unobserved
from reasoning_bank.monitoring.statements import Statement, listening

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

SUSPICIOUS: Final = 5
"""One statement that often within one call looks like a query for each row of another (N+1)."""
_LINES: Final = 3


@dataclass(slots=True)
class TimeProfile:
    """What a block took, once it has ended; in seconds.

    Attributes:
        seconds: from its begin to its end.
        running_s: of that, the processor time of its thread; of an `async` function under `profile_time`, the time
            of its own steps. (A block with `await` in it shares its thread with other tasks.)
        failed: it was left by an exception.
    """

    name: str
    seconds: float = 0.0
    running_s: float = 0.0
    failed: bool = False

    @property
    def waiting_s(self) -> float:
        """What it did not run: waiting for a lock, a disk, a server, or for its turn."""
        return max(0.0, self.seconds - self.running_s)

    def __str__(self) -> str:
        return f"{self.name}: {self.seconds:.3f} s, running {self.running_s:.3f} s, waiting {self.waiting_s:.3f} s"


@dataclass(slots=True)
class MemoryProfile:
    """What a block left allocated, once it has ended; other threads' Python objects are counted too.

    Attributes:
        kept_bytes: more at its end than at its begin, negative when less.
        peak_bytes: most above its begin, at any time.
        lines: where most of what is kept was allocated, as (file:line, bytes).
    """

    name: str
    kept_bytes: int = 0
    peak_bytes: int = 0
    lines: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        where = ", ".join(f"{line} {size / 1024:+.1f} KiB" for line, size in self.lines)
        sizes = f"kept {self.kept_bytes / 1024:+.1f} KiB, peak {self.peak_bytes / 1024:+.1f} KiB"
        return f"{self.name}: {sizes}{f' ({where})' if where else ''}"


@dataclass(slots=True)
class QueryProfile:
    """The statements that were executed on behalf of a block, in order of their end."""

    name: str
    statements: list[Statement] = field(default_factory=list[Statement])

    @property
    def seconds(self) -> float:
        """Time in the database, over all statements."""
        return sum(each.seconds for each in self.statements)

    @property
    def repeated(self) -> Mapping[str, int]:
        """How often each statement was executed that looks like a query for each row of another, most often first."""
        counted = Counter(each.sql for each in self.statements).most_common()
        return {sql: count for sql, count in counted if count >= SUSPICIOUS}

    def __str__(self) -> str:
        told = f"{self.name}: {len(self.statements)} statements, {1000 * self.seconds:.1f} ms"
        return "".join([told, *(f"; {count} times {sql}" for sql, count in self.repeated.items())])


# Time


@contextmanager
def profile(name: str, *, observe: Observe = unobserved) -> Generator[TimeProfile]:
    """Time a block.

    Args:
        name: of what it does.
        observe: is told what it took as a call of `name`; a monitor's `observe`, for instance.
    """
    spent = TimeProfile(name)
    started, ran = time.perf_counter(), time.thread_time()
    spent.failed = True
    try:
        yield spent
        spent.failed = False
    finally:
        spent.seconds = time.perf_counter() - started
        # Whoever timed the steps of a coroutine has said more than the thread can.
        spent.running_s = spent.running_s or time.thread_time() - ran
        observe(name, spent.seconds, spent.failed)


@overload
def profile_time(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def profile_time(
    *, threshold: float = 0.0, name: str | None = None, observe: Observe = unobserved
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def profile_time(
    function: Callable[..., Any] | None = None,
    /,
    *,
    threshold: float = 0.0,
    name: str | None = None,
    observe: Observe = unobserved,
) -> Any:
    """Log what each call of a function takes.

    Args:
        function: the function, where the decorator is written without arguments.
        threshold: seconds; only calls that take longer are logged, as warnings.
        name: under which; the function's own by default.
        observe: is told of every call.
    """

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        called = name or function.__qualname__

        @contextmanager
        def timed() -> Generator[TimeProfile]:
            spent = None
            try:
                with profile(called, observe=observe) as spent:
                    yield spent
            finally:
                if spent is not None and spent.seconds >= threshold:
                    logger.log(logging.WARNING if threshold else logging.INFO, "%s", spent)

        return _around(function, timed)

    return decorated if function is None else decorated(function)


# Memory


@contextmanager
def memory_profile(name: str) -> Generator[MemoryProfile]:
    """Look at what a block allocates. Python is about three times slower meanwhile (tracemalloc)."""
    found = MemoryProfile(name)
    with _traced():
        before = tracemalloc.take_snapshot()
        tracemalloc.reset_peak()
        begin = tracemalloc.get_traced_memory()[0]
        try:
            yield found
        finally:
            end, peak = tracemalloc.get_traced_memory()
            found.kept_bytes, found.peak_bytes = end - begin, max(0, peak - begin)
            grown = tracemalloc.take_snapshot().compare_to(before, "lineno")
            found.lines = tuple(
                (f"{each.traceback[0].filename}:{each.traceback[0].lineno}", each.size_diff)
                for each in grown
                if each.size_diff > 0 and each.traceback[0].filename not in _OWN_FILES
            )[:_LINES]


@overload
def profile_memory(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def profile_memory(*, name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def profile_memory(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Log what each call of a function leaves allocated, its peak, and the lines that allocated most."""
    return _logging(memory_profile, function, name)


# Statements


@contextmanager
def query_profile(name: str) -> Generator[QueryProfile]:
    """Hear every statement that is executed on behalf of a block, in any thread."""
    found = QueryProfile(name)
    with listening(found.statements.append):
        yield found


@overload
def profile_queries(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def profile_queries(*, name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def profile_queries(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Log how many statements each call of a function executes, their time, and those that it repeats."""
    return _logging(query_profile, function, name)


def _logging(
    look: Callable[[str], AbstractContextManager[object]], function: Callable[..., Any] | None, name: str | None
) -> Any:
    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def logged() -> Generator[object]:
            found: object = None
            try:
                with look(name or function.__qualname__) as found:
                    yield found
            finally:
                logger.info("%s", found)

        return _around(function, logged)

    return decorated if function is None else decorated(function)


def _around(function: Callable[..., Any], look: Callable[[], AbstractContextManager[object]]) -> Callable[..., Any]:
    """The function, plain or `async` as it is, with every call of it under a look."""
    if not inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        def plain(*args: Any, **named: Any) -> Any:
            with look():
                return function(*args, **named)

        return plain

    @functools.wraps(function)
    async def asynchronous(*args: Any, **named: Any) -> Any:
        with look() as found:
            steps = _Steps(function(*args, **named))
            try:
                return await steps
            finally:
                if isinstance(found, TimeProfile):
                    found.running_s = steps.running_s

    return asynchronous


class _Steps(Generator[Any, Any, T]):
    """A coroutine whose own steps are timed; what runs between them is not its work."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.running_s = 0.0

    def __await__(self) -> "_Steps[T]":
        return self

    def send(self, value: Any, /) -> Any:
        started = time.perf_counter()
        try:
            return self._coroutine.send(value)
        finally:
            self.running_s += time.perf_counter() - started

    def throw(self, *error: Any) -> Any:
        started = time.perf_counter()
        try:
            return self._coroutine.throw(*error)
        finally:
            self.running_s += time.perf_counter() - started

    def close(self) -> None:
        self._coroutine.close()


@contextmanager
def _traced() -> Generator[None]:
    """Allocations are traced while any block is looked at, and afterwards only if they were before."""
    with _tracing.lock:
        if _tracing.blocks == 0:
            _tracing.ours = not tracemalloc.is_tracing()
            if _tracing.ours:
                tracemalloc.start()
        _tracing.blocks += 1
    try:
        yield
    finally:
        with _tracing.lock:
            _tracing.blocks -= 1
            if _tracing.blocks == 0 and _tracing.ours:
                tracemalloc.stop()


@dataclass(slots=True)
class _Tracing:
    lock: threading.Lock = field(default_factory=threading.Lock)
    blocks: int = 0
    ours: bool = False


_tracing: Final = _Tracing()
_OWN_FILES: Final = frozenset((__file__, tracemalloc.__file__))
