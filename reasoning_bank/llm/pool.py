"""The one HTTP client of this room: few kept connections, shared by all calls, and the attempts of each call."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import anyio.to_thread
import httpx2

from reasoning_bank.llm.breaker import BreakerState, CircuitBreaker
from reasoning_bank.llm.call import CONNECT_S, Call, Trip
from reasoning_bank.llm.failures import AttemptError
from reasoning_bank.llm.retrying import Retrier, Timing

T = TypeVar("T")

KEPT_S: Final = 4.0
"""Servers close idle connections after 5 s or more: ours are dropped before."""


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """What a pool did since it was opened.

    Attributes:
        pool_size: most requests at once.
        in_use: requests under way.
        waiting: requests that wait for one of them to end.
        requests: HTTP requests made.
        connections: connections opened for them.
        reused: requests that went over a kept connection.
        waits: requests that had to wait for another one to end.
        retries: requests made because an earlier one failed.
        breakers: state of each circuit breaker, by "model at host".
    """

    pool_size: int
    in_use: int
    waiting: int
    requests: int
    connections: int
    reused: int
    waits: int
    retries: int
    breakers: Mapping[str, BreakerState]


class APIConnectionPool:
    """Connections to model servers, kept and shared; open one per process with `async with`.

    Args:
        pool_size: connections, and thereby requests at once.
        max_retries: attempts after the first.
        timeout: longest time of one attempt in seconds, and of a whole call where the caller sets none.
        read_timeout: longest silence in seconds; None: as long as the call may take, since most servers are silent
            until their model has finished.
        trust_env: whether proxies and certificates of the environment are used.
        ca_file: certificates (PEM) trusted besides the public ones.
        timing: clocks, waiting and chance.
    """

    def __init__(
        self,
        pool_size: int = 10,
        max_retries: int = 3,
        timeout: float = 120.0,
        *,
        read_timeout: float | None = None,
        trust_env: bool = False,
        ca_file: Path | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._timeout_s = timeout
        self._pool_size = pool_size
        self._read_timeout_s = read_timeout or timeout
        self._trust_env = trust_env
        self._ca_file = ca_file
        self._timing = timing or Timing()
        self._retrier = Retrier(max_retries, self._timing)
        self._slots = asyncio.Semaphore(pool_size)
        self._opening = asyncio.Lock()
        self._client: httpx2.AsyncClient | None = None
        self._breakers: dict[str, CircuitBreaker] = {}
        self._in_use = self._waiting = self._requests = self._connections = self._reused = self._waits = 0

    async def __aenter__(self) -> Self:
        """Opens nothing yet: the first call does."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connections; the pool can be used again."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def statistics(self) -> PoolStatistics:
        """Returns the counters and the state of each circuit breaker."""
        return PoolStatistics(
            pool_size=self._pool_size,
            in_use=self._in_use,
            waiting=self._waiting,
            requests=self._requests,
            connections=self._connections,
            reused=self._reused,
            waits=self._waits,
            retries=self._retrier.retries,
            breakers={whom: breaker.state for whom, breaker in self._breakers.items()},
        )

    async def post(self, call: Call, read: Callable[[bytes], T], *, timeout_s: float | None = None) -> tuple[T, int]:
        """Returns what `read` makes of the whole answer, and how many requests it took.

        Args:
            call: what to send.
            read: raises AttemptError for an answer that is no use.
            timeout_s: longest time of all attempts; the pool's where it is None.

        Raises:
            UpstreamError: no usable answer.
        """

        async def use(chunks: AsyncIterator[bytes]) -> T:
            return read(b"".join([chunk async for chunk in chunks]))

        async def attempt(seconds: float) -> T:
            async with AsyncExitStack() as stack:
                return await self._attempt(call, use, stack, seconds)

        return await self._retrier.run(attempt, timeout_s=self._whole(timeout_s))

    @asynccontextmanager
    async def stream(
        self, call: Call, begin: Callable[[AsyncIterator[bytes]], Awaitable[T]], *, timeout_s: float | None = None
    ) -> AsyncGenerator[tuple[T, int]]:
        """Opens an answer that comes in pieces; only until `begin` has returned may it be asked for again.

        Args:
            call: what to send.
            begin: is given the bytes as they come, takes the first of them and keeps the rest.
            timeout_s: longest time of all attempts and of the whole answer.

        Raises:
            UpstreamError: no answer that begins well; within the block, AttemptError for one that breaks off.
        """

        async def attempt(seconds: float) -> tuple[T, AsyncExitStack]:
            async with AsyncExitStack() as stack:
                return await self._attempt(call, begin, stack, seconds), stack.pop_all()

        (begun, stack), attempts = await self._retrier.run(attempt, timeout_s=self._whole(timeout_s))
        async with stack:
            try:
                yield begun, attempts
            except AttemptError as error:
                self._breaker(call).broke_off(error)
                raise

    def _whole(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else timeout_s

    async def _attempt(
        self, call: Call, use: Callable[[AsyncIterator[bytes]], Awaitable[T]], stack: AsyncExitStack, seconds: float
    ) -> T:
        """One request: a slot and an open answer, left on `stack`, and what `use` makes of it."""
        deadline = asyncio.get_running_loop().time() + min(seconds, self._timeout_s)
        await stack.enter_async_context(self._slot(call, deadline))
        trip = Trip(call, deadline)
        with self._breaker(call).attempt(call.whom), trip.failures():
            client = self._client or await self._opened()
            self._requests += 1
            try:
                async with asyncio.timeout_at(deadline):
                    response = await stack.enter_async_context(trip.request(client))
            finally:
                self._connections += trip.connected
                self._reused += trip.reused
            if not response.is_success:
                raise await trip.refusal(response, wall=self._timing.wall())
            return await use(trip.chunks(response))

    @asynccontextmanager
    async def _slot(self, call: Call, deadline: float) -> AsyncGenerator[None]:
        self._waits += self._slots.locked()
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError as error:
            said = f"{call.whom} was not asked: all {self._pool_size} connections were in use all the time"
            raise AttemptError(said, sent=False, health="unknown") from error
        finally:
            self._waiting -= 1
        self._in_use += 1
        try:
            yield
        finally:
            self._in_use -= 1
            self._slots.release()

    def _breaker(self, call: Call) -> CircuitBreaker:
        breaker = self._breakers.get(call.whom)
        if breaker is None:
            timing = self._timing
            breaker = CircuitBreaker(monotonic=timing.monotonic, jitter=timing.jitter)
            self._breakers[call.whom] = breaker
        return breaker

    async def _opened(self) -> httpx2.AsyncClient:
        async with self._opening:
            if self._client is None:
                # Reading the certificates takes some 20 ms, too long for the event loop. The thread keeps what it
                # made, so that a caller who is cancelled meanwhile has not waited for nothing.
                await anyio.to_thread.run_sync(self._open)
            assert self._client is not None
            return self._client

    def _open(self) -> None:
        context = httpx2.create_ssl_context(trust_env=self._trust_env)
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        size = self._pool_size
        self._client = httpx2.AsyncClient(
            verify=context,
            trust_env=self._trust_env,
            follow_redirects=False,
            timeout=httpx2.Timeout(self._read_timeout_s, connect=CONNECT_S, pool=CONNECT_S),
            limits=httpx2.Limits(max_connections=size, max_keepalive_connections=size, keepalive_expiry=KEPT_S),
        )
