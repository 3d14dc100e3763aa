"""`@optimized_tool`: for any function what the bank does for its own tools."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from reasoning_bank.cache.config import CacheConfig
from reasoning_bank.cache.decorator import cached
from reasoning_bank.concurrency.repeats import RepeatedCalls
from reasoning_bank.monitoring.observing import Observe, Timed, unobserved

P = ParamSpec("P")
R = TypeVar("R")


def optimized_tool(
    *,
    cache_ttl: float | None = None,
    cache_name: str = "tools",
    config: CacheConfig | None = None,
    observe: Observe = unobserved,
    repeats: RepeatedCalls | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep results, do equal calls at the same time once, time every call, and notice calls that are repeated.

    For functions and coroutine functions whose result depends on their arguments alone, and whose arguments are plain
    values: texts, numbers, lists, dicts, frozen dataclasses. None and errors are never kept. A kept result is given
    as the same object, so it must not be changed.

    Args:
        cache_ttl: seconds a result may be given again; None takes the cache's.
        cache_name: the cache the results are kept in, see `get_cache`.
        config: how that cache is made, where it is not there yet.
        observe: told `tool.NAME`, seconds and whether it failed, for every call: `PerformanceMonitor().observe`.
        repeats: what notices them; None notices the third equal call within a minute.

    Example:
        >>> @optimized_tool(cache_ttl=300)
        ... def expensive_analysis(data: dict[str, int]) -> dict[str, int]:
        ...     return {"sum": sum(data.values())}
        >>> expensive_analysis({"a": 1, "b": 2})
        {'sum': 3}
    """
    noticing = repeats or RepeatedCalls()

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name = function.__name__
        kept = cached(cache_name, ttl=cache_ttl, config=config)(function)

        def note(result: object, *args: P.args, **kwargs: P.kwargs) -> None:
            noticing.note("this program", name, {"args": repr(args), "kwargs": repr(kwargs)}, repr(result))

        @wraps(function)
        def in_thread(*args: P.args, **kwargs: P.kwargs) -> R:
            with Timed(observe, f"tool.{name}"):
                result = kept(*args, **kwargs)
            note(result, *args, **kwargs)
            return result

        @wraps(function)
        async def on_loop(*args: P.args, **kwargs: P.kwargs) -> Any:
            with Timed(observe, f"tool.{name}"):
                result = await cast("Any", kept(*args, **kwargs))
            note(result, *args, **kwargs)
            return result

        return cast("Callable[P, R]", on_loop) if inspect.iscoroutinefunction(function) else in_thread

    return decorate
