"""A server process whose bank prints, forks, waits and stalls on demand: what the stdio runner must contain.

Started as `python noisy_server.py DRAIN_SECONDS` by test_stdio.py and as `python noisy_server.py http` by
test_processes.py.
"""

import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

import anyio
import anyio.to_thread

from reasoning_bank.learning.recording import LIBRARY
from reasoning_bank.mcp.http import HttpServer, build_application, endpoint_url, listen
from reasoning_bank.mcp.server import build_server
from reasoning_bank.mcp.stdio import serve_stdio
from reasoning_bank.mcp.stopping import exit_now
from reasoning_bank.records import MemoryItem, NewTrace, Query, Retrieval, Source, StoreResult
from reasoning_bank.settings import load_settings
from tests.mcp.standin import StandInBank

if sys.argv[1:] != ["http"]:  # over HTTP stdout is for people
    print("noise before serving")
    atexit.register(print, "noise at exit")


class NoisyBank(StandInBank):
    async def __aexit__(self, *exc_info: object) -> None:
        print("bank closed", file=sys.stderr)

    async def retrieve(self, workspace: str, query: Query) -> Retrieval:
        if query.task == "noise":
            print("noise from print")
            print("noise from the original stdout", file=sys.__stdout__, flush=True)
            os.write(1, b"noise from descriptor 1\n")
            await anyio.run_process([sys.executable, "-c", "print('noise from a child')"], stdout=None, stderr=None)
        if query.task == "stdin":
            child = [sys.executable, "-c", "import sys; print(len(sys.stdin.read()), file=sys.stderr)"]
            await anyio.to_thread.run_sync(subprocess.run, child)
        if query.task == "slow":
            print("slow begins", file=sys.stderr, flush=True)
            await anyio.sleep(0.3)
        if query.task == "forever":
            print("forever begins", file=sys.stderr, flush=True)
            await anyio.sleep_forever()
        if query.task == "stuck":
            print("stuck begins", file=sys.stderr, flush=True)
            await anyio.to_thread.run_sync(threading.Event().wait)
        return await super().retrieve(workspace, query)

    async def store_trace(
        self,
        workspace: str,
        trace: NewTrace,
        *,
        memories: Sequence[MemoryItem] | None = None,
        idempotency_key: str | None = None,
        source: Source = LIBRARY,
    ) -> StoreResult:
        if trace.task == "crash":
            raise RuntimeError("a bug")
        return await super().store_trace(
            workspace, trace, memories=memories, idempotency_key=idempotency_key, source=source
        )


def over_http() -> None:
    settings = load_settings(http={"port": 0})
    listener = listen(settings.http)
    print(endpoint_url(settings.http, listener), flush=True)
    anyio.run(HttpServer(build_application(NoisyBank, settings)).serve, [listener])  # pyright: ignore[reportArgumentType]
    exit_now(0)


if __name__ == "__main__":
    if sys.argv[1] == "http":
        over_http()
    serve_stdio(
        load_settings(limits={"message_bytes": 65_536}),
        make_server=lambda settings: build_server(NoisyBank, settings),  # pyright: ignore[reportArgumentType]
        drain_s=float(sys.argv[1]),
    )
