"""An HTTP server on this machine, in a process of its own, that answers as a model server would: after a while.

A POST to /N, or below, is answered after N milliseconds: that a command has to be run, as JSON with the key "advice".
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_MESSAGE: Final = {"role": "assistant", "content": json.dumps({"advice": "Run make clean first."})}
_ANSWER: Final = json.dumps(
    {
        "model": "any",
        "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 10},
    }
).encode()
_HEAD: Final = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(_ANSWER)}\r\n\r\n".encode()


@contextmanager
def loopback() -> Generator[str]:
    """Start the server, give its URL, and end it."""
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.stdin.close()


async def _serve() -> None:
    server = await asyncio.start_server(_connection, "127.0.0.1", 0)
    async with server:
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        # Whoever started it ends it by closing its input, or by being killed.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # Cancelled when the process ends: asyncio 3.11 would print a traceback for each connection that is still open.
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            await reader.readexactly(_length(head))
            await asyncio.sleep(int(head.split(" ", 2)[1].split("/")[1]) / 1000)
            writer.write(_HEAD + _ANSWER)
            await writer.drain()
    writer.close()


def _length(head: str) -> int:
    lines = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    return int(lines.get("content-length", 0))


if __name__ == "__main__":
    asyncio.run(_serve())
