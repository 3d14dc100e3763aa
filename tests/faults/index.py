"""What the vector index holds and which build serves, seen from outside the server."""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.faults.stdio_client import StdioServer

DATABASE = "bank.sqlite3"
LIVE = "SELECT id FROM memories WHERE deleted_at IS NULL AND superseded_by IS NULL"
BEHIND = """
SELECT (SELECT count(*) FROM outbox WHERE dead_at IS NULL)
     + (SELECT count(*) FROM change_log AS c WHERE op <> 'counters' AND NOT EXISTS (
          SELECT 1 FROM index_state AS s WHERE s.workspace = c.workspace AND s.applied_seq >= c.seq))
"""
"""Queued work, and changes that the recorded index has not applied."""


def wait_for_index(server: StdioServer, bank: Path, *, timeout_s: float, after: int = 0) -> int:
    """Wait until a build later than `after` serves and has applied every change; its number.

    Raises:
        TimeoutError: it did not come to that in time.
    """
    end = time.monotonic() + timeout_s
    while True:
        index = server.read("bank://stats")["index"]
        behind = _count(bank, BEHIND)
        if index["status"] == "ready" and index["generation"] > after and not behind:
            return index["generation"]
        if time.monotonic() > end:
            raise TimeoutError(f"{behind} changes behind after {timeout_s:.0f} s: {json.dumps(index)}")
        time.sleep(0.05)


def live_ids(bank: Path) -> set[str]:
    """Ids of the memories that can be found: those the index must hold."""
    with closing(_open(bank)) as connection:
        return {row[0] for row in connection.execute(LIVE)}


def indexed_ids(bank: Path) -> set[str]:
    """Ids of the newest build in a bank's embedded Chroma directory; no server may be running."""
    builds = sorted(path for path in (bank / "vectors").iterdir() if path.is_dir())
    listing = subprocess.run(
        [sys.executable, "-m", "tests.faults.index_contents", str(builds[-1])],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return {id for ids in json.loads(listing.stdout.splitlines()[-1]).values() for id in ids}


def _count(bank: Path, statement: str) -> int:
    with closing(_open(bank)) as connection:
        return connection.execute(statement).fetchone()[0]


def _open(bank: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{bank / DATABASE}?mode=ro", uri=True, timeout=10)
