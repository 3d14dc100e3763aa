"""A server process as the command line starts it, which also tells what it holds.

Run: python -m tests.soak.served FILE serve …; whoever connects to the port written to FILE is sent one line of JSON.
"""

import asyncio
import gc
import json
import os
import socket
import sys
import threading
from pathlib import Path

import psutil

from reasoning_bank.cli import main


def held() -> dict[str, int]:
    """What the process holds once its garbage is gone."""
    gc.collect()
    process = psutil.Process()
    return {
        "rss_kb": process.memory_info().rss // 1024,
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
        "cpu_ms": int(1_000 * sum(process.cpu_times()[:2])),
        "blocks": sys.getallocatedblocks(),
        "tasks": sum(isinstance(one, asyncio.Task) and not one.done() for one in gc.get_objects()),
    }


def _tell(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(json.dumps(held()).encode() + b"\n")


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    port_file, *arguments = sys.argv[1:]
    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_tell, args=(listening,), daemon=True, name="telling").start()
    Path(port_file).write_text(str(listening.getsockname()[1]), encoding="utf-8")
    if "http" in arguments:  # over stdio the end of the input ends the server anyway
        threading.Thread(target=_end_with_parent, daemon=True, name="parent").start()
    main(arguments)
