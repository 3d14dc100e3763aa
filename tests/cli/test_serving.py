"""Starting servers as clients and people do."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pytest
from mcp import Client

from tests.faults.stdio_client import INITIALIZE

COMMAND = [sys.executable, "-m", "reasoning_bank"]


@contextmanager
def started(*arguments: str) -> Generator[subprocess.Popen[bytes]]:
    """A server process, gone afterwards."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


@pytest.mark.parametrize("arguments", [(), ("serve",)], ids=["bare", "serve"])
def test_with_a_pipe_as_input_it_serves_mcp_and_leaves_at_its_end(arguments: tuple[str, ...]) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}
    done = subprocess.run(
        [*COMMAND, *arguments], input=json.dumps(request).encode() + b"\n", capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    (answer,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert answer["result"]["serverInfo"]["name"] == "reasoning-bank"


@pytest.mark.skipif(os.name != "posix", reason="a pseudo-terminal of POSIX")
def test_at_a_terminal_it_explains_itself_instead_of_waiting_for_messages() -> None:
    import pty

    leader, follower = pty.openpty()
    try:
        done = subprocess.run(COMMAND, stdin=follower, capture_output=True, timeout=60, check=False)
    finally:
        os.close(leader)
        os.close(follower)
    assert done.returncode == 0
    assert b"Usage: reasoning-bank" in done.stdout


async def test_over_http_it_prints_where_it_is_and_snippets_that_work(tmp_path: Path) -> None:
    with started("serve", "--transport", "http", "--port", "0", "-w", "w") as server:
        out = cast("IO[bytes]", server.stdout)
        url = out.readline().decode().split()[-1]
        printed = [out.readline().decode() for _ in range(9)]
        assert url.startswith("http://127.0.0.1:")
        assert printed[0] == f"data: {tmp_path / 'bank'}\n"
        snippets = [json.loads(line)["mcpServers"]["reasoning-bank"] for line in printed if '"mcpServers"' in line]
        assert snippets == [
            {"type": "http", "url": url},
            {
                "command": sys.executable,
                "args": ["-m", "reasoning_bank", "serve", "--data-dir", str(tmp_path / "bank")],
            },
        ]
        async with Client(url, read_timeout_seconds=60) as client:
            assert "retrieve_memory" in {tool.name for tool in (await client.list_tools()).tools}
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0


@pytest.mark.slow
def test_the_demo_shows_every_step_with_a_real_client_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, assets_dir: Path
) -> None:
    monkeypatch.setenv("REASONING_BANK_ASSETS_DIR", str(assets_dir))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = subprocess.run(
        [*COMMAND, "demo"], capture_output=True, text=True, encoding="utf-8", timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    steps = [
        "Connected over stdio",
        "Five traces are stored",
        "Question: ",
        "A prompt is compressed",
        "bank://stats says",
    ]
    places = [done.stdout.find(step) for step in steps]
    assert places == sorted(places)
    assert -1 not in places
    assert done.stdout.count("Question: ") == 3
    assert done.stdout.count("Nothing relevant, and the bank says so") == 1, "only the last question has no answer"
    assert "5 memories of 5 traces" in done.stdout
    assert not list(tmp_path.glob("reasoning-bank-demo-*"))
    assert not (tmp_path / "bank").exists()


@pytest.mark.slow
def test_the_demo_fetches_nothing_where_that_is_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONING_BANK_ASSETS_DIR", str(tmp_path / "assets"))
    monkeypatch.setenv("REASONING_BANK_ASSETS__ALLOW_DOWNLOAD", "false")
    done = subprocess.run(
        [*COMMAND, "demo"], capture_output=True, text=True, encoding="utf-8", timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "no embedding model here" in done.stdout
    assert not [path for path in tmp_path.rglob("*") if path.stat().st_size > 100_000]


@pytest.mark.slow
def test_a_reader_that_leaves_ends_the_demo_without_a_traceback() -> None:
    command = [*COMMAND, "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as demo:
        assert demo.stdout is not None
        demo.stdout.close()
        demo.stdout = None
        _, complaints = demo.communicate(timeout=110)
    assert demo.returncode == 1
    assert "Traceback" not in complaints
