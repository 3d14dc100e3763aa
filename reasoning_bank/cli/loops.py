"""How a command runs a coroutine: to its end, or to the one error that ended it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple, cast

import anyio

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


def run(function: Callable[[*Arguments], Awaitable[T]], *arguments: *Arguments) -> T:
    """Run it and return its result; an error inside an MCP client is raised as it was, without the groups around it."""
    try:
        return anyio.run(function, *arguments)
    except BaseExceptionGroup as group:
        raise cause(group) from group


def cause(error: BaseException) -> BaseException:
    """What really happened: an MCP client's task groups wrap whatever ends them, a reader that left (`| head`) too."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
