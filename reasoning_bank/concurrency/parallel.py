"""Named tasks side by side: a bound on how many run at once, one deadline for all, results and errors by name."""

import inspect
import pickle
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Generic, Literal, TypeAlias, TypeVar, TypeVarTuple, Unpack, cast

import anyio
import anyio.to_process
import anyio.to_thread

from reasoning_bank.errors import InputError

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

Task: TypeAlias = Callable[[Unpack[Arguments]], Awaitable[T]] | Callable[[Unpack[Arguments]], T]
Workers = Literal["threads", "processes"]
"""Where plain functions run: threads for what waits (files, sockets, databases), processes for what computes."""


@dataclass(frozen=True, slots=True)
class Finished(Generic[K, T]):
    """What came of tasks that ran side by side; each name is in exactly one of the three, in the order given.

    Attributes:
        results: what each task returned.
        errors: what each failing task raised.
        late: tasks that had not ended at the deadline, or never began.
    """

    results: Mapping[K, T]
    errors: Mapping[K, Exception]
    late: tuple[K, ...]


async def run_parallel(
    tasks: Mapping[K, Task[*Arguments, T]],
    *arguments: *Arguments,
    max_workers: int = 4,
    timeout_s: float | None = None,
    workers: Workers = "threads",
) -> Finished[K, T]:
    """What each of several independent tasks came to; one that fails, or is late, takes nothing from the others.

    Coroutine functions run on the event loop, plain ones in worker threads or processes. Cancelling the call cancels
    all of its tasks, and none is left when it returns, with one exception Python demands: a thread cannot be stopped.
    A plain function that is late ends at its next `anyio.from_thread.check_cancelled()`, or by itself, unheard; a
    process is killed. Worker processes are kept for the next call, and end with the event loop.

    Args:
        tasks: by name; each is called with `arguments`.
        arguments: what every task is given.
        max_workers: tasks that run at once, at least 1.
        timeout_s: seconds for all together, waiting for a worker included; None waits for the last one.
        workers: where plain functions run. What goes to a process, and what comes back, is pickled.

    Raises:
        InputError: `max_workers` is below 1, or a task cannot be sent to a process; the text says which and why.
    """
    if max_workers < 1:
        raise InputError(f"max_workers is {max_workers!r}: at least one task has to run")
    if workers == "processes":
        for name, task in tasks.items():
            _check_picklable(name, task, arguments)
    places = anyio.CapacityLimiter(max_workers)
    results: dict[K, T] = {}
    errors: dict[K, Exception] = {}

    async def run(name: K) -> None:
        async with places:
            with _Kept(name, errors):
                results[name] = await _run(tasks[name], arguments, workers)

    with anyio.move_on_after(timeout_s):
        if workers == "processes":
            await _start_processes(min(max_workers, len(tasks)))
        async with anyio.create_task_group() as group:
            for name in tasks:
                group.start_soon(run, name)
    return Finished(
        results={name: results[name] for name in tasks if name in results},
        errors={name: errors[name] for name in tasks if name in errors},
        late=tuple(name for name in tasks if name not in results and name not in errors),
    )


def run_parallel_sync(
    tasks: Mapping[K, Task[*Arguments, T]],
    *arguments: *Arguments,
    max_workers: int = 4,
    timeout_s: float | None = None,
    workers: Workers = "threads",
) -> Finished[K, T]:
    """As `run_parallel`, for a caller without an event loop; inside one, await that instead."""
    return anyio.run(
        partial(run_parallel, tasks, *arguments, max_workers=max_workers, timeout_s=timeout_s, workers=workers)
    )


async def _run(task: Callable[..., Any], arguments: tuple[object, ...], workers: Workers) -> Any:
    # Each has a place already: the limiters that everybody shares are not ours to wait for.
    one = anyio.CapacityLimiter(1)
    if is_async(task):
        return await task(*arguments)
    if workers == "processes":
        return await anyio.to_process.run_sync(task, *arguments, cancellable=True, limiter=one)
    done = await anyio.to_thread.run_sync(task, *arguments, abandon_on_cancel=True, limiter=one)
    # A lambda around a coroutine function looks like a plain one.
    return await done if inspect.isawaitable(done) else done


async def _start_processes(count: int) -> None:
    """Have so many worker processes: one that is called off while it starts would be left behind."""

    async def start() -> None:
        with suppress(anyio.BrokenWorkerProcess):  # the task that meets it will say so by its name
            await anyio.to_process.run_sync(int, limiter=anyio.CapacityLimiter(1))

    with anyio.CancelScope(shield=True):
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(start)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it makes a coroutine, as far as can be seen from outside."""
    while isinstance(function, partial):
        function = cast("Callable[..., Any]", function.func)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 -- its kind is asked for, not whether there is one


def _check_picklable(name: object, task: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    if is_async(task):
        raise InputError(f"task {name!r} is a coroutine function: processes run plain functions, leave `workers` out")
    try:
        pickle.dumps((task, arguments))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"task {name!r} cannot be sent to a process ({error}): name a function at the top level of a module, and "
            "give it plain values"
        ) from error


class _Kept(Generic[K]):
    """Keeps what a task raises instead of passing it on to the others; what ends the process, or the wait, passes."""

    def __init__(self, name: K, errors: dict[K, Exception]) -> None:
        self._name = name
        self._errors = errors

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._errors[self._name] = error
        return True
