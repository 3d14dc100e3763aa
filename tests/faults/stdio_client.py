"""A client that speaks JSON lines to a real server process, and can kill it at any moment."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, cast

Json = dict[str, Any]

INITIALIZE: Json = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "faults", "version": "1"},
}


class ServerGoneError(Exception):
    """The server ended before it answered: whether the call took effect is unknown."""


class RefusedError(Exception):
    """The server answered with an error."""


class StdioServer:
    """A real server over stdio.

    Args:
        data_dir: its bank.
        environment: settings besides.
        stderr: where its log goes (appended).
    """

    def __init__(self, data_dir: Path, *, stderr: Path, environment: Mapping[str, str] | None = None) -> None:
        self.started = time.perf_counter()
        with stderr.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reasoning_bank", "serve", "--data-dir", str(data_dir), "--workspace", "faults"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | dict(environment or {}),
            )
        self._ids = itertools.count(1)
        self._waiting: dict[int, Future[Json]] = {}
        self._lock = threading.Lock()
        self._gone = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.handshake = self.send("initialize", INITIALIZE)
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, method: str, params: Json) -> Future[Json]:
        """Send a request; the future has its result, or RefusedError, or ServerGoneError."""
        future: Future[Json] = Future()
        with self._lock:
            number = next(self._ids)
            self._waiting[number] = future
        self._write({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        if self._gone:
            self._fail_all()
        return future

    def call(self, tool: str, arguments: Json, *, timeout_s: float = 60.0) -> Json:
        """Call a tool and return its structured answer."""
        result = self.send("tools/call", {"name": tool, "arguments": arguments}).result(timeout=timeout_s)
        if result.get("isError"):
            raise RefusedError(result["content"][0]["text"])
        return result["structuredContent"]

    def read(self, uri: str, *, timeout_s: float = 60.0) -> Json:
        """Read a JSON resource."""
        result = self.send("resources/read", {"uri": uri}).result(timeout=timeout_s)
        return json.loads(result["contents"][0]["text"])

    def kill(self) -> None:
        """kill -9, and wait until it is gone and every open call knows it."""
        self.process.kill()
        self._ended()

    def stop(self, *, timeout_s: float = 30.0) -> int:
        """Close its input and return its exit code."""
        cast("IO[bytes]", self.process.stdin).close()
        code = self.process.wait(timeout=timeout_s)
        self._ended()
        return code

    def terminate(self, *, timeout_s: float = 30.0) -> int:
        """SIGTERM, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=timeout_s)
        self._ended()
        return code

    def _ended(self) -> None:
        self.process.wait(timeout=30)
        self._reader.join(timeout=30)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue

    def _write(self, message: Json) -> None:
        line = json.dumps(message).encode() + b"\n"
        try:
            with self._lock:
                stdin = cast("IO[bytes]", self.process.stdin)
                stdin.write(line)
                stdin.flush()
        except (BrokenPipeError, ValueError):
            self._gone = True

    def _read(self) -> None:
        for line in cast("IO[bytes]", self.process.stdout):
            try:
                message = json.loads(line)
            except ValueError:
                break  # the last line of a killed process may be cut
            future = self._waiting.pop(message.get("id"), None)
            if future is None:
                continue
            if "error" in message:
                future.set_exception(RefusedError(message["error"]["message"]))
            else:
                future.set_result(message["result"])
        self._gone = True
        self._fail_all()

    def _fail_all(self) -> None:
        while self._waiting:
            try:
                _, future = self._waiting.popitem()
            except KeyError:
                return
            future.set_exception(ServerGoneError())
