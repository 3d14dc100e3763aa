"""One client on a pair of pipes: its messages in, the answers out, and the end of it.

End of input and stop signals let calls in flight finish for a bounded time before the server, and with it the bank, is
closed.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from mcp.server import MCPServer
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from reasoning_bank.mcp.framing import Refusal, parse, read_lines
from reasoning_bank.mcp.stdio import Wire
from reasoning_bank.mcp.stopping import on_stop_signal

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

logger = logging.getLogger(__name__)

CLOSING_S = 1.0
"""Part of the time to stop that is kept for closing the bank."""


async def serve(
    server: MCPServer[Any], wire: Wire, *, limit: int, drain_s: float, stopping: Callable[[float], None]
) -> None:
    """Serves until the input ends or a stop signal comes, then lets calls in flight finish.

    Args:
        server: what answers.
        wire: where the messages are.
        limit: longest message in bytes.
        drain_s: longest time for calls in flight and for closing the bank together.
        stopping: called once with `drain_s` when the end begins, to guarantee it.
    """
    ended = anyio.Event()
    loop = asyncio.get_running_loop()
    connection = _Connection(wire, limit, ended)
    with on_stop_signal(lambda: loop.call_soon_threadsafe(ended.set)):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.write_all)
            tasks.start_soon(_answer, server, connection)
            connection.start_reading(loop)
            await ended.wait()
            stopping(drain_s)
            with anyio.move_on_after(max(drain_s - CLOSING_S, 0.0)):
                await connection.drained()
            await connection.stop()


async def _answer(server: MCPServer[Any], connection: "_Connection") -> None:
    low = server._lowlevel_server  # pyright: ignore[reportPrivateUsage] -- the only way to serve own streams
    try:
        await low.run(connection.incoming, connection.outgoing, low.create_initialization_options())
    finally:
        connection.ended.set()


class _Connection:
    """The messages between the wire and the server, and which requests are still unanswered."""

    def __init__(self, wire: Wire, limit: int, ended: anyio.Event) -> None:
        self.ended = ended
        self._wire = wire
        self._limit = limit
        self._unanswered: set[str | int] = set()
        self._idle: anyio.Event | None = None
        self._feed: MemoryObjectSendStream[SessionMessage | Exception]
        self.incoming: MemoryObjectReceiveStream[SessionMessage | Exception]
        self._feed, self.incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self.outgoing: MemoryObjectSendStream[SessionMessage]
        self._sent: MemoryObjectReceiveStream[SessionMessage]
        self.outgoing, self._sent = anyio.create_memory_object_stream[SessionMessage](0)
        self._refusals = self.outgoing.clone()

    def start_reading(self, loop: asyncio.AbstractEventLoop) -> None:
        """Reads lines in a daemon thread: a blocked read cannot be cancelled and must not keep the process alive."""

        def read() -> None:
            # The loop may be gone when the last line comes: the process is ending then.
            with contextlib.suppress(RuntimeError, futures.CancelledError):
                for line in read_lines(self._wire.read, self._limit):
                    message = parse(line, self._limit)
                    if message is not None:
                        # Waiting for the result is the back-pressure: one line at a time enters the server.
                        asyncio.run_coroutine_threadsafe(self._deliver(message), loop).result()
                loop.call_soon_threadsafe(self.ended.set)

        threading.Thread(target=read, name="stdin", daemon=True).start()

    async def _deliver(self, message: JSONRPCMessage | Refusal) -> None:
        if isinstance(message, Refusal):
            await self._refusals.send(SessionMessage(message.answer))
            return
        if isinstance(message, JSONRPCRequest):
            self._unanswered.add(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._settled((message.params or {}).get("requestId"))  # a cancelled request is never answered
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._feed.send(SessionMessage(message))

    async def write_all(self) -> None:
        """Writes what the server sends, one line each, until it closes its end or the client is gone."""
        async for sent in self._sent:
            data = sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
            try:
                await anyio.to_thread.run_sync(self._wire.write, data, abandon_on_cancel=True)
            except OSError:
                logger.info("the client closed its end")
                self._unanswered.clear()
                self.ended.set()
                return
            if isinstance(sent.message, JSONRPCResponse | JSONRPCError):
                self._settled(sent.message.id)

    async def drained(self) -> None:
        """Returns when every request that came has its answer on the wire."""
        if self._unanswered:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def stop(self) -> None:
        """Tells the server that no more will come, and that what it sends has nowhere to go once it is done."""
        await self._feed.aclose()
        await self._refusals.aclose()

    def _settled(self, request_id: object) -> None:
        if isinstance(request_id, str | int):
            self._unanswered.discard(request_id)
        if self._idle is not None and not self._unanswered:
            self._idle.set()
