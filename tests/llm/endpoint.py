"""A real HTTP server that speaks the three wire formats and fails as it is told.

Each request takes the next fault of `faults`; where there is none it is answered by `otherwise`.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import time
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from typing import Any, Literal

from . import wires

TEXT = "Führe zuerst »make clean« aus ✓ 漢字."


@dataclass(slots=True)
class Exchange:
    """One request that came, and the way back."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    first: bool
    """Whether it is the first request on its connection."""

    @property
    def wire(self) -> str:
        return wires.wire_of(self.path)

    async def send(self, status: int, content: bytes, headers: Mapping[str, str] = {}) -> None:
        kind = {"content-type": "application/json", "content-length": str(len(content)), **headers}
        await self.write(head(status, kind) + content)

    async def send_chunks(self, chunks: Iterable[bytes], *, end: Literal["well", "cut", "never"] = "well") -> None:
        await self.write(head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        for chunk in chunks:
            await self.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        if end == "well":
            await self.write(b"0\r\n\r\n")
        elif end == "cut":
            self.writer.close()

    async def write(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()


Fault = Callable[[Exchange], Awaitable[None]]


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} as told", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def pieces_of(text: str) -> list[str]:
    return [text[i : i + 3] for i in range(0, len(text), 3)]


def answer(text: str = TEXT, *, finish: str = "stop", model: str = "m", after_s: float = 0.0) -> Fault:
    """No fault: the text, whole or streamed as the request wants it."""

    async def tell(exchange: Exchange) -> None:
        await asyncio.sleep(after_s)
        if exchange.body.get("stream"):
            await exchange.send_chunks(wires.streamed(exchange.wire, pieces_of(text), model=model, finish=finish))
        else:
            content = json.dumps(wires.whole(exchange.wire, text, model=model, finish=finish)).encode()
            await exchange.send(200, content)

    return tell


def dated(code: int, *, in_s: float) -> Fault:
    """An error with a date for the next try; dates have whole seconds, so the wait is up to a second shorter."""

    async def tell(exchange: Exchange) -> None:
        await status(code, {"retry-after": formatdate(time.time() + in_s, usegmt=True)})(exchange)

    return tell


def status(code: int, headers: Mapping[str, str] = {}, said: str = "as told") -> Fault:
    async def tell(exchange: Exchange) -> None:
        await exchange.send(code, json.dumps({"error": {"message": said, "type": "test"}}).encode(), headers)

    return tell


def content(body: bytes, headers: Mapping[str, str] = {}) -> Fault:
    """A 200 with any body."""

    async def tell(exchange: Exchange) -> None:
        await exchange.send(200, body, headers)

    return tell


@cache
def _bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(level=1, wbits=31)
    blank = b" " * (1 << 20)
    return b"".join(
        [packer.compress(b'{"choices": "'), *(packer.compress(blank) for _ in range(megabytes)), packer.flush()]
    )


def gzip_bomb(megabytes: int = 200) -> Fault:
    """The beginning of an answer, small on the wire, huge in memory."""

    async def tell(exchange: Exchange) -> None:
        await exchange.send(200, _bomb(megabytes), {"content-encoding": "gzip"})

    return tell


async def hang(exchange: Exchange) -> None:
    """Nothing ever comes back; ends when the client goes."""
    await exchange.reader.read()


async def hang_in_body(exchange: Exchange) -> None:
    await exchange.write(head(200, {"content-type": "application/json", "content-length": "1000"}) + b'{"')
    await exchange.reader.read()


async def drip(exchange: Exchange) -> None:
    """One byte at a time, so that no read ever times out."""
    await exchange.write(head(200, {"content-type": "application/json", "content-length": "100000"}))
    while not exchange.writer.is_closing():
        await exchange.write(b" ")
        await asyncio.sleep(0.02)


async def vanish(exchange: Exchange) -> None:
    """The connection is closed without a byte."""
    exchange.writer.close()


async def vanish_if_kept(exchange: Exchange) -> None:
    """What a server does that closes idle connections in the instant in which one is used again."""
    if exchange.first:
        await answer()(exchange)
    else:
        exchange.writer.close()


async def reset(exchange: Exchange) -> None:
    """The connection is torn down in the middle of the answer."""
    await exchange.write(head(200, {"content-type": "application/json", "content-length": "1000"}) + b'{"choices"')
    exchange.writer.transport.abort()


async def cut_body(exchange: Exchange) -> None:
    await exchange.write(head(200, {"content-type": "application/json", "content-length": "1000"}) + b'{"choices"')
    exchange.writer.close()


def stream(
    change: Callable[[list[bytes], str], Iterable[bytes]], *, end: Literal["well", "cut", "never"] = "well"
) -> Fault:
    """A streamed answer of which the events are changed first."""

    async def tell(exchange: Exchange) -> None:
        events = wires.streamed(exchange.wire, pieces_of(TEXT))
        await exchange.send_chunks(change(events, exchange.wire), end=end)

    return tell


async def hang_midway(exchange: Exchange) -> None:
    """A stream that stops for ever after its first words."""
    events = wires.streamed(exchange.wire, pieces_of(TEXT))[:6]
    chunks = b"".join(f"{len(event):x}\r\n".encode() + event + b"\r\n" for event in events)
    await exchange.write(head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}) + chunks)
    await exchange.reader.read()


cut_stream = stream(lambda events, _: [*events[:5], events[5][:7]], end="cut")
no_mark = stream(lambda events, _: events[:-1])
error_midway = stream(lambda events, wire: [*events[:6], wires.error_event(wire)])
error_at_once = stream(lambda events, wire: [events[0], wires.error_event(wire)])
byte_by_byte = stream(lambda events, _: [bytes([byte]) for byte in b"".join(events)])
crlf = stream(lambda events, _: [b"".join(events).replace(b"\n", b"\r\n")])
carriage_returns = stream(lambda events, _: [b"".join(events).replace(b"\n", b"\r")])
not_json_midway = stream(lambda events, _: [*events[:6], b"data: {oops\n\n"])


@dataclass(slots=True)
class ModelServer:
    """What it was asked and what it does next."""

    url: str = ""
    faults: deque[Fault] = field(default_factory=deque[Fault])
    otherwise: Fault = field(default_factory=answer)
    requests: list[Exchange] = field(default_factory=list[Exchange])
    connections: int = 0
    idle_s: float | None = None
    """Closes connections that were idle so long."""
    _handlers: dict["asyncio.Task[None]", asyncio.StreamWriter] = field(
        default_factory=dict["asyncio.Task[None]", asyncio.StreamWriter]
    )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers[handler] = writer
        first = True
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            while not writer.is_closing():
                async with asyncio.timeout(self.idle_s):
                    start = await reader.readuntil(b"\r\n\r\n")
                exchange = await _read(start, reader, writer, first=first)
                self.requests.append(exchange)
                first = False
                await (self.faults.popleft() if self.faults else self.otherwise)(exchange)
        writer.close()
        del self._handlers[handler]

    async def close(self) -> None:
        """Ends all connections."""
        handlers = dict(self._handlers)
        for writer in handlers.values():
            writer.transport.abort()
        await asyncio.gather(*handlers, return_exceptions=True)


async def _read(start: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, first: bool) -> Exchange:
    line, *rest = start.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (header.partition(": ") for header in rest if header)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Exchange(line.split()[1], headers, json.loads(body), reader, writer, first)


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncGenerator[ModelServer]:
    """A server on a free port of the loopback."""
    state = ModelServer()
    server = await asyncio.start_server(state.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    state.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{port}/v1"
    try:
        yield state
    finally:
        server.close()
        await state.close()


def closed_port() -> int:
    """A port of the loopback where nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
