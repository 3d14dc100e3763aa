"""`@cached`: the results of a function, kept in a named cache."""

import inspect
from collections.abc import Callable, Hashable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar, cast

from reasoning_bank.cache.config import CacheConfig
from reasoning_bank.cache.keys import told_apart
from reasoning_bank.cache.registry import get_cache

P = ParamSpec("P")
R = TypeVar("R")


def cached(
    cache_name: str,
    *,
    ttl: float | None = None,
    key: Callable[P, Hashable] | None = None,
    config: CacheConfig | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep what a function returns, by its arguments; calls at the same time with the same arguments are one call.

    Works for functions and for coroutine functions; the results of functions can be kept in memory only. None and
    errors are never kept.

    Args:
        cache_name: the cache, see `get_cache`.
        ttl: seconds a result may be given again; None takes the cache's.
        key: what the result depends on, from the arguments; None takes all of them, see `told_apart`. Of a method
            that is its object too: give a key that says what of it matters.
        config: how the cache is made, where it is not there yet.

    Example:
        >>> @cached("squares", ttl=60)
        ... def square(number: int) -> int:
        ...     return number * number
        >>> square(12)
        144
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        name = f"{function.__module__}.{function.__qualname__}"

        def key_of(*args: P.args, **kwargs: P.kwargs) -> Hashable:
            if key is not None:
                return (name, key(*args, **kwargs))
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return (name, told_apart(bound.args), told_apart(bound.kwargs))

        @wraps(function)
        def in_thread(*args: P.args, **kwargs: P.kwargs) -> R:
            cache = get_cache(cache_name, config)
            return cache.get_or_work(key_of(*args, **kwargs), partial(function, *args, **kwargs), ttl=ttl)

        @wraps(function)
        async def on_loop(*args: P.args, **kwargs: P.kwargs) -> Any:
            cache = get_cache(cache_name, config)
            load = cast("Any", partial(function, *args, **kwargs))
            return await cache.get_or_load(key_of(*args, **kwargs), load, ttl=ttl)

        return cast("Callable[P, R]", on_loop) if inspect.iscoroutinefunction(function) else in_thread

    return decorate
