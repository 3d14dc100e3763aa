"""The statements that a database executes, told to whoever listens: profiles of queries, and tests that count them.

    seen: list[Statement] = []
    with listening(seen.append):
        await bank.stats("default")

Listening follows the context: tasks and worker threads that begin inside the block are heard, wherever their
transaction runs, and nobody else is. A bank that is opened inside it is heard as long as it works, its background too.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that was executed.

    Attributes:
        sql: its text with placeholders; the values, which may be private, are never told.
        seconds: in the database: executing it and fetching its rows.
        rows: how many it returned, or changed.
    """

    sql: str
    seconds: float
    rows: int


Listener: TypeAlias = Callable[[Statement], object]
"""Is told of each statement when it is done, in the thread that executed it: quick, and safe in any thread."""


@contextmanager
def listening(listener: Listener) -> Generator[None]:
    """Tell a listener of every statement that is executed on behalf of the block; may be nested."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


def listeners() -> tuple[Listener, ...]:
    """Return who listens here; none as a rule, which takes a tenth of a microsecond to find out."""
    return _listeners.get()


_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("statement_listeners", default=())
