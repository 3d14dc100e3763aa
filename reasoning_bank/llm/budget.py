"""What language models may take in a UTC day: counted in the bank, over all processes."""

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, date, datetime, time, timedelta
from time import perf_counter
from typing import Final, TypeAlias

from sqlalchemy import Connection

from reasoning_bank.errors import BudgetSpentError
from reasoning_bank.llm.exchange import ModelRequest, Purpose, Reply, TokenUsage
from reasoning_bank.llm.routing import Target
from reasoning_bank.records import JsonValue
from reasoning_bank.storage import llm_usage
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.llm_usage import Asked, Usage

_MICROS: Final = 1_000_000
_BYTES_PER_TOKEN: Final = 3
"""No tokenizer needs more than a token per three bytes of ordinary text (English has four to five)."""
_TOKENS_PER_TURN: Final = 8

Note: TypeAlias = Callable[[Purpose, float, Usage], object]
"""Is told of a call of a model: what for, how many seconds it took, and what it used; in any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a UTC day may take; None: no limit.

    Attributes:
        tokens: read and written, of all workspaces together.
        tokens_per_workspace: the same for each workspace.
        dollars: cost, of all workspaces together.
        dollars_per_workspace: the same for each workspace.
    """

    tokens: int | None = None
    tokens_per_workspace: int | None = None
    dollars: float | None = None
    dollars_per_workspace: float | None = None

    @property
    def of_money(self) -> bool:
        """Whether prices are needed."""
        return self.dollars is not None or self.dollars_per_workspace is not None


@dataclass(frozen=True, slots=True)
class LimitState:
    """How much of a limit is used.

    Attributes:
        name: the limit, as in `Limits`.
        spent: tokens or dollars of this day so far, reservations included.
        limit: tokens or dollars a day.
    """

    name: str
    spent: float
    limit: float


@dataclass(slots=True)
class Receipt:
    """What came of a call; without a reply nothing was spent."""

    reply: Reply | None = None


class Budget:
    """Reserves the most a call can take before it is sent, and counts what it took when it ends.

    A reservation stands among the day's counts, made in one transaction with the check of the limits. So no number of
    processes goes over a limit together, except by what servers read beyond a token per three bytes in the calls under
    way. The reservations of a process that is killed stay spent, since its calls were sent; they end with the day.

    Args:
        database: where it is counted.
        limits: of a day.
        now: the clock.
        note: is told of each call when it has ended.
        timer: monotonic clock in seconds.
    """

    def __init__(
        self,
        database: Database,
        *,
        limits: Limits,
        now: Callable[[], datetime],
        note: Note = lambda _purpose, _seconds, _usage: None,
        timer: Callable[[], float] = perf_counter,
    ) -> None:
        self._database = database
        self._limits = limits
        self._now = now
        self._note = note
        self._timer = timer

    @asynccontextmanager
    async def reserved(
        self, workspace: str, purpose: Purpose, target: Target, request: ModelRequest
    ) -> AsyncGenerator[Receipt]:
        """Holds the most a request can take while the block runs, then counts what its receipt says.

        Raises:
            BudgetSpentError: a limit does not hold it; nothing is counted.
        """
        day, asked = self._today(), Asked(workspace, purpose, target.name)
        most, receipt = _usage(target, _most(request)), Receipt()
        held: list[bool] = []

        def reserve(connection: Connection) -> None:
            self._refuse_beyond(connection, workspace, most)
            llm_usage.add(connection, day, asked, most)
            held.append(True)

        def settle(connection: Connection) -> None:
            if held:  # asked here, behind `reserve` in the queue: who was cancelled while waiting for it cannot know
                taken = _taken(target, request, receipt)
                llm_usage.add(connection, day, asked, taken - most)
                self._note(purpose, seconds, taken)

        started = self._timer()
        try:
            await self._database.write(reserve)
            started = self._timer()
            yield receipt
        finally:
            seconds = self._timer() - started
            # It is in the queue before this waits: a wait that is cancelled does not undo it.
            await self._database.write(settle)

    async def count(self, workspace: str, purpose: Purpose, model: str, usage: Usage) -> None:
        """Counts an answer that took no model."""
        day, asked = self._today(), Asked(workspace, purpose, model)
        await self._database.write(lambda connection: llm_usage.add(connection, day, asked, usage))

    async def today(self, workspace: str | None = None) -> dict[str, JsonValue]:
        """Return what today took, of one workspace or of all, by purpose and model, and how much its limits hold."""
        day = self._today()

        def look(connection: Connection) -> dict[str, JsonValue]:
            rows = llm_usage.by_model(connection, day, workspace)
            return {
                "limits": [asdict(state) for state in self._states(connection, workspace)],
                "by_model": [{"purpose": purpose, "model": model, **_shown(usage)} for purpose, model, usage in rows],
            }

        return {"day": day.isoformat(), "resets_at": _end(day).isoformat(), **await self._database.read(look)}

    def _refuse_beyond(self, connection: Connection, workspace: str, most: Usage) -> None:
        for state in (*self._states(connection, None), *self._states(connection, workspace)):
            more = most.cost_micros / _MICROS if state.name.startswith("dollars") else most.tokens
            if state.spent + more > state.limit:
                raise self._spent(state, more)

    def _spent(self, state: LimitState, more: float) -> BudgetSpentError:
        now = self._now()
        end = _end(now.astimezone(UTC).date())
        # What others spent is not said: whoever reads this may be one of many.
        said = (
            f"today's budget for language models ({state.name} = {state.limit:g}) does not hold this call, which can"
            f" take {more:g}; it begins anew at {end:%Y-%m-%d %H:%M} UTC"
        )
        return BudgetSpentError(said, retry_after_s=(end - now).total_seconds())

    def _states(self, connection: Connection, workspace: str | None) -> Iterator[LimitState]:
        """The limits of a workspace, or those of all together."""
        suffix = "" if workspace is None else "_per_workspace"
        tokens: int | None = getattr(self._limits, f"tokens{suffix}")
        dollars: float | None = getattr(self._limits, f"dollars{suffix}")
        if tokens is None and dollars is None:
            return
        used = llm_usage.total(connection, self._today(), workspace)
        if tokens is not None:
            yield LimitState(f"tokens{suffix}", used.tokens, tokens)
        if dollars is not None:
            yield LimitState(f"dollars{suffix}", used.cost_micros / _MICROS, dollars)

    def _today(self) -> date:
        return self._now().astimezone(UTC).date()


def _most(request: ModelRequest) -> TokenUsage:
    return TokenUsage(input_uncached=_read(request), output=request.max_tokens)


def _taken(target: Target, request: ModelRequest, receipt: Receipt) -> Usage:
    reply = receipt.reply
    if reply is None:
        return Usage(calls=1, failures=1)
    said = TokenUsage(*(max(0, count) for count in astuple(reply.usage)))  # some servers say -1 for unknown
    if said == TokenUsage():  # a server that does not say: what it must have been, about
        said = TokenUsage(input_uncached=_read(request), output=_tokens(reply.text))
    return _usage(target, said)


def _usage(target: Target, tokens: TokenUsage) -> Usage:
    return Usage(
        calls=1,
        input_tokens=tokens.input_uncached,
        cached_tokens=tokens.input_cached,
        output_tokens=tokens.output,
        cost_micros=target.price.micros(tokens) if target.price else 0,
    )


def _read(request: ModelRequest) -> int:
    texts = [message.text for message in request.messages]
    if request.schema is not None:
        texts.append(json.dumps(request.schema))
    return sum(_tokens(text) + _TOKENS_PER_TURN for text in texts)


def _tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def _shown(usage: Usage) -> dict[str, JsonValue]:
    counts = asdict(usage)
    dollars = counts.pop("cost_micros") / _MICROS
    return {**counts, "dollars": dollars}


def _end(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), UTC)
