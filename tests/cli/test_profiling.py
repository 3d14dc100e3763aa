"""`profile` and `leaks` as a person at a shell sees them."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from reasoning_bank.cli import main


def reasoning_bank(*arguments: str | Path, directory: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "reasoning_bank", *map(str, arguments)],
        cwd=directory,
        env={**os.environ, "REASONING_BANK_EMBEDDINGS__BACKEND": "hashing"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=110,
    )


@pytest.mark.parametrize("name", ["graph.svg", "graph.json"])
def test_a_command_under_the_profiler_does_what_it_does_and_leaves_a_flame_graph(tmp_path: Path, name: str) -> None:
    graph = tmp_path / name
    done = reasoning_bank("profile", "--output", graph, "--", "compress", "--help", directory=tmp_path)
    if "Permission denied" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("this machine lets no process look into another one")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage:")
    assert "py-spy" not in done.stdout
    assert str(graph) in done.stderr
    content = graph.read_text(encoding="utf-8")
    if name.endswith(".json"):
        assert json.loads(content)["shared"]["frames"]
    else:
        assert "<svg" in content


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "a COMMAND is missing"),
        (("--output", "graph.txt", "--", "stats"), "not 'graph.txt'"),
    ],
)
def test_what_cannot_be_profiled_is_said(
    arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["profile", *arguments])
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_missing_profiler_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        main(["profile", "--", "stats"])
    assert end.value.code == 2
    assert "pip install 'reasoning-bank[profile]'" in capsys.readouterr().err


CHECK = """
import anyio, sys
from pathlib import Path
from reasoning_bank.cli.repeated import SMALL_CACHES, grown_in_new_bank
from reasoning_bank.settings import load_settings

async def check(settings):
    async for work, grown in grown_in_new_bank(settings, 20):
        print(work, [each for each in grown if each.bytes_per_call > 1_000])
        if work == sys.argv[2]:
            break

anyio.run(check, load_settings(data_dir=Path(sys.argv[1]), embeddings={"backend": "hashing"}, cache=SMALL_CACHES))
"""


@pytest.mark.slow
def test_searching_leaves_nothing_behind(tmp_path: Path) -> None:
    """In a process of its own, because what watches our tests for blocking calls would be counted.

    An answer that is kept takes some kilobytes. With so few calls caches still fill up beneath that: `leaks`
    tells more, and tries stores and statistics too.
    """
    done = subprocess.run(
        [sys.executable, "-c", CHECK, tmp_path, "search"],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=110,
    )
    assert done.stdout == "search []\n"


@pytest.mark.slow
def test_your_own_bank_is_only_searched_for_leaks(tmp_path: Path) -> None:
    own = ("--data-dir", tmp_path)
    told = reasoning_bank(
        "store", "repair the reader", "--outcome", "success", "-w", "default", *own, directory=tmp_path
    )
    assert told.returncode == 0, told
    with contextlib.closing(sqlite3.connect(tmp_path / "bank.sqlite3")) as bank:
        before = bank.execute("SELECT id, used FROM memories").fetchall()
        done = reasoning_bank("leaks", "--here", "--calls", "20", *own, directory=tmp_path)
        assert "search" in done.stdout, done
        assert bank.execute("SELECT id, used FROM memories").fetchall() == before != []
        assert bank.execute("SELECT count(*) FROM traces").fetchone() == (1,)
