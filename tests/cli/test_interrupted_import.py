"""An import that ends in the middle is finished by running it again."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

ROWS = 2_500
"""Five batches."""


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
    path = tmp_path / "rows.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(ROWS):
            file.write(json.dumps({"id": f"r{number}", "text": f"row {number} of the long import"}) + "\n")
    return path


def start_import(rows: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "reasoning_bank", "import", str(rows), "-w", "w", "--no-wait", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def wait_for_a_batch(process: subprocess.Popen[str], database: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if database.exists() and stored(database):
            return
        time.sleep(0.01)
    raise AssertionError("the import ended before it could be interrupted")


def stored(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM memories").fetchone()[0])
        except sqlite3.OperationalError:  # its tables are not there yet
            return 0


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_running_it_again_stores_exactly_what_is_missing(rows: Path, tmp_path: Path, number: signal.Signals) -> None:
    database = tmp_path / "bank" / "bank.sqlite3"
    first = start_import(rows)
    wait_for_a_batch(first, database)
    first.send_signal(number)
    _, err = first.communicate(timeout=30)
    assert first.returncode == (130 if number is signal.SIGINT else -signal.SIGKILL)
    assert number is signal.SIGKILL or err.endswith("error: interrupted\n")
    there = stored(database)
    assert 0 < there < ROWS
    again = start_import(rows)
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert json.loads(out)["created"] == ROWS - there
    assert stored(database) == ROWS
