"""A server process whose bank prints, forks, waits and stalls on demand: what the stdio runner must contain.

Started by test_stdio.py as `python noisy_server.py DRAIN_SECONDS`.
"""

import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

import anyio
import anyio.to_thread

from reasoning_bank.mcp.server import build_server
from reasoning_bank.mcp.stdio import serve_stdio
from reasoning_bank.records import MemoryItem, NewTrace, Query, Retrieval, StoreResult
from reasoning_bank.settings import load_settings
from tests.mcp.standin import StandInBank

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
    ) -> StoreResult:
        if trace.task == "crash":
            raise RuntimeError("a bug")
        return await super().store_trace(workspace, trace, memories=memories, idempotency_key=idempotency_key)


if __name__ == "__main__":
    serve_stdio(
        load_settings(limits={"message_bytes": 65_536}),
        make_server=lambda settings: build_server(NoisyBank, settings),  # pyright: ignore[reportArgumentType]
        drain_s=float(sys.argv[1]),
    )
