"""A real process that stores traces in a bank and says so after each commit; its parent kills it, or fills its disk.

Usage: python writer_process.py BANK NAME COUNT [FILE_LIMIT_BYTES]
"""

import contextlib
import resource
import sys
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from reasoning_bank.errors import StorageError
from reasoning_bank.records import Counters, Memory, MemoryItem, NewTrace, Trace
from reasoning_bank.storage import Database, memories, outbox, traces, workspaces
from reasoning_bank.text.analyser import analyse


def now() -> datetime:
    return datetime.now(UTC)


def store(connection: Connection, name: str) -> None:
    """One trace with two memories, its key and its queued work: all of it or nothing."""
    workspaces.ensure(connection, "w", now())
    traces.insert(connection, Trace(name, "w", NewTrace("task " * 50, trajectory=["x" * 3000]), now(), "h"))
    its = MemoryItem(text=f"what {name} taught " * 20, content="advice " * 50, tags=("tag",))
    pair = [Memory(f"{name}-{part}", "w", name, its, Counters(), now(), now(), "h") for part in (0, 1)]
    memories.insert(connection, pair, [analyse(its)] * 2)
    outbox.enqueue(connection, "w", "embed", {"ids": [one.id for one in pair]}, now=now())
    traces.claim_key(connection, "w", name, "body", name, now=now())
    traces.put_answer(connection, "w", name, {"trace_id": name})


def limit_file_size(limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit or hard, hard))


def main(path: str, name: str, count: int, limit: int = 0) -> None:
    database = Database(Path(path), busy_timeout_s=30, now=now)
    database.open()
    limit_file_size(limit)
    with contextlib.closing(database):
        for place in range(count):
            try:
                database.write_now(lambda connection, place=place: store(connection, f"{name}-{place}"))
            except StorageError as error:
                print("ERROR", error.code, flush=True)
                # The disk has room again; what failed must work now, on the same connection.
                limit_file_size(0)
                database.write_now(lambda connection, place=place: store(connection, f"{name}-{place}-again"))
                print("ACK", f"{name}-{place}-again", flush=True)
                return
            print("ACK", f"{name}-{place}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *map(int, sys.argv[4:]))
