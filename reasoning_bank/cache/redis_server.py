"""The connection to one Redis server: bounded waits, silent while it is away, told what others change.

redis is imported in a thread when something is first asked of a server.
"""

import asyncio
import importlib
import importlib.util
import logging
import time
from array import array
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

import anyio.to_thread

from reasoning_bank.cache.changes import SLOTS, Versions
from reasoning_bank.errors import ConfigError

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)
T = TypeVar("T")

WAIT_S: Final = 0.2
"""Longest wait of a caller: for a connection, for an answer, and for both together."""
TRUST_S: Final = 1.0
"""Age of the last proof that no change was missed, above which a copy is not served."""
_PROBE_S: Final = (0.1, 2.0)
"""First and longest pause between two attempts to reach a server that is away."""
_HEARTBEAT_S: Final = 0.25
_SLOTS: Final = frozenset(map(str, range(SLOTS)))
_CERTIFICATES: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
_OPTIONS: Final = {"redis": frozenset[str](), "rediss": _CERTIFICATES, "unix": frozenset({"db"})}
"""What may be said after the `?` of an address, by its scheme: of an unknown option redis tells with the first call."""


class RedisServer:
    """One Redis server that any number of stores use, within one event loop.

    A server that does not answer costs each caller that is waiting then 0.2 s, and later ones nothing: it is tried
    again in the background, and used again once it answered.

    Args:
        url: redis://[[user]:password@]host[:port][/database], rediss:// for TLS, unix://path; never logged.
        prefix: first part of every key and of the channel in which changes are told.
        clock: seconds that never go backwards.

    Raises:
        ConfigError: it is no address of a Redis, or redis is not installed.
    """

    def __init__(self, url: str, *, prefix: str = "rb", clock: Callable[[], float] = time.monotonic) -> None:
        self.place = _place(url)
        """Where it is, without user and password."""
        if importlib.util.find_spec("redis") is None:
            raise ConfigError("a cache is to use Redis: pip install 'reasoning-bank[redis]'")
        self._url = url
        self.prefix = prefix
        self._clock = clock
        self._redis: Redis | None = None
        self._errors: tuple[type[Exception], ...] = (OSError, TimeoutError)
        self._refusal: type[Exception] = OSError
        self._up = False
        self._attempted = asyncio.Event()
        self._reaching: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._watched: dict[str, Versions] = {}
        self._proved_at = -TRUST_S

    async def __aenter__(self) -> Self:
        """Load the client's library and begin to reach the server, in the background."""
        await self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def channel(self) -> str:
        """Where changes are told, as the name of a store and a slot."""
        return f"{self.prefix}:changes"

    async def begin(self) -> None:
        """Load the client's library and begin to reach the server: the first call waits for it, and for no import."""
        await anyio.to_thread.run_sync(importlib.import_module, "redis.asyncio")
        if self._reaching is None:
            self._begin()

    async def ready(self, timeout_s: float) -> bool:
        """Whether the server answers, or does within so many seconds."""
        if not await self._reached() and self._reaching is not None:
            await asyncio.wait((self._reaching,), timeout=timeout_s)
        return self._up

    async def call(self, work: "Callable[[Redis], Awaitable[T]]") -> T | None:
        """Return what `work` returns, which is never None, or None where the server gave no answer in time."""
        if not self._up and not await self._reached():
            return None
        assert self._redis is not None
        try:
            async with asyncio.timeout(WAIT_S):
                return await work(self._redis)
        except self._errors as error:
            if isinstance(error, self._refusal):  # it is there, and did not want this: out of memory, read-only
                logger.debug("redis at %s refused: %s", self.place, error)
            else:
                self._away(error)
            return None

    def watch(self, name: str) -> Versions:
        """Return the versions of a store's entries, which follow what anybody changes in it from now on."""
        return self._watched.setdefault(name, Versions(array("Q", bytes(8 * SLOTS))))

    def trusted(self) -> bool:
        """Whether every change that was made more than `TRUST_S` ago is known here."""
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())
        return self._clock() - self._proved_at < TRUST_S

    async def aclose(self) -> None:
        """Let go of all connections; the next call makes new ones."""
        tasks = [task for task in (self._reaching, self._listening) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        redis, self._redis, self._up, self._reaching, self._listening = self._redis, None, False, None, None
        self._attempted.clear()
        if redis is not None:
            with suppress(*self._errors):
                await redis.aclose(close_connection_pool=True)

    async def _reached(self) -> bool:
        """Whether the server answers; only the first attempt of all is waited for."""
        if self._reaching is None:
            self._begin()
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                await self._attempted.wait()
        return self._up

    def _begin(self) -> None:
        self._reaching = asyncio.create_task(self._reach())
        self._reaching.add_done_callback(self._ended)

    def _ended(self, reaching: asyncio.Task[None]) -> None:
        """No caller is to hear of an error that no one expected: the server stays away then."""
        self._attempted.set()
        if not reaching.cancelled() and (error := reaching.exception()) is not None:
            logger.error("redis at %s cannot be used, its caches are left out: %s", self.place, _name(error))

    async def _reach(self) -> None:
        """Try until the server answers."""
        pause, longest = _PROBE_S
        told = False
        if self._redis is None:
            self._redis = await anyio.to_thread.run_sync(self._client)
        while not await self._answers(tell=not told):
            self._attempted.set()
            told = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
        self._up = True
        self._attempted.set()
        if told:
            logger.info("redis at %s answers", self.place)

    async def _answers(self, *, tell: bool) -> bool:
        try:
            async with asyncio.timeout(WAIT_S):
                await cast("Any", self._redis).ping()
        except self._errors as error:
            if tell:
                logger.warning("redis at %s does not answer, its caches are left out: %s", self.place, _name(error))
            return False
        return True

    def _away(self, error: Exception) -> None:
        """Leave it alone until it answered again, which it does at once where only this process was slow."""
        logger.debug("redis at %s did not answer: %s", self.place, _name(error))
        self._up = False
        if self._reaching is None or self._reaching.done():
            self._begin()

    def _client(self) -> "Redis":
        library: Any = importlib.import_module("redis.asyncio")
        retry: Any = importlib.import_module("redis.asyncio.retry")
        backoff: Any = importlib.import_module("redis.backoff")
        errors: Any = importlib.import_module("redis.exceptions")
        self._errors, self._refusal = (OSError, TimeoutError, errors.RedisError), errors.ResponseError
        # Measured: with the defaults a frozen server takes 8 s a call, and 500 concurrent calls fail for connections.
        # No socket_timeout: redis waits for each write with `asyncio.wait_for`, which on Python 3.11 loses half of all
        # cancellations. Every use of the connection has a timeout of ours around it.
        pool = library.BlockingConnectionPool.from_url(
            self._url,
            max_connections=20,
            timeout=WAIT_S,
            socket_timeout=None,
            socket_connect_timeout=WAIT_S,
            retry=retry.Retry(backoff.NoBackoff(), 0),
            protocol=2,
            driver_info=None,  # else it looks its own version up on disk, with each connection
        )
        return library.Redis(connection_pool=pool)

    async def _listen(self) -> None:
        """Follow the changes that others make, for as long as the server lives, and prove it again and again."""
        while True:
            if self._up or await self._reached():
                assert self._redis is not None
                with suppress(*self._errors):
                    async with cast("Any", self._redis).pubsub() as channel:
                        await self._follow(channel)
                self._proved_at = -TRUST_S
            await asyncio.sleep(_HEARTBEAT_S)

    async def _follow(self, channel: Any) -> None:
        async with asyncio.timeout(WAIT_S):
            await channel.subscribe(self.channel)
        asked_at, answered = -_HEARTBEAT_S, True
        while True:
            now = self._clock()
            if answered and now - asked_at >= _HEARTBEAT_S:
                async with asyncio.timeout(WAIT_S):
                    await channel.ping()
                asked_at, answered = now, False
            elif now - asked_at > TRUST_S:
                return
            message: dict[str, Any] | None = await channel.get_message(timeout=_HEARTBEAT_S)
            if message is None:
                continue
            self._told(message)
            if message["type"] == "pong":
                # Whatever was told before the server saw the ping was read before its answer.
                self._proved_at, answered = asked_at, True

    def _told(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            # What was told before is not known.
            for versions in self._watched.values():
                versions.changed(0)
        elif message["type"] == "message":
            name, _, slot = message["data"].decode(errors="replace").rpartition(" ")
            if name in self._watched and slot in _SLOTS:  # anybody may write into the channel
                self._watched[name].changed(int(slot))


def _place(url: str) -> str:
    """Where an address of a Redis leads, without user and password.

    Raises:
        ConfigError: redis could not use it, or would take a part of the password for something else.
    """
    with suppress(ValueError):  # which repeats what it is about
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        is_file = parts.scheme == "unix"
        place = parts.path if is_file else parts.hostname and f"{parts.hostname}:{parts.port or 6379}"
        database = options.get("db", "0") if is_file else parts.path.strip("/") or "0"
        known = parts.scheme in _OPTIONS and options.keys() <= _OPTIONS[parts.scheme] and not parts.fragment
        if place and known and database.isdecimal() and "@" not in place:
            return place
    raise ConfigError(
        "cache.redis_url: write redis://host:port/0, rediss://host:port/0 or unix:///path, with user:password@ before "
        "the host if need be; in a password write / as %2F, # as %23, ? as %3F and @ as %40"
    )


def _name(error: BaseException) -> str:
    # Not its text, which may repeat what the address says.
    return type(error).__name__
